"""Test `adam_optax.conventions`."""
