"""Measurements, side by side with optax in one run. No timing decides a test."""
