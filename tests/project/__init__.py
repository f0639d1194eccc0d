"""Test the project as a whole: layers, public names, documentation, planted faults."""
