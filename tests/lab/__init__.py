"""Test the lab."""
