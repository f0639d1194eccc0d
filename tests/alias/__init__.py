"""Test `adam_optax._alias`."""
