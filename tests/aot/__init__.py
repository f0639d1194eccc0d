"""Compiling ahead of time for accelerators that are not there, and reading what was compiled."""
