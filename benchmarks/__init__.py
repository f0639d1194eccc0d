"""Measure side by side with optax, in one run; no timing decides a test."""
