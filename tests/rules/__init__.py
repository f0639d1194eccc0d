"""Test `adam_optax.rules`."""
