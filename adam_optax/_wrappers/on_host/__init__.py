"""Split a step into programs for the host, and run them while arrays are on their way."""
