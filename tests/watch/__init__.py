"""Test `adam_optax.watch`."""
