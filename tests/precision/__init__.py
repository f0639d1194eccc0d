"""Test `adam_optax.precision`."""
