"""Test embedding rows."""
