"""Test `adam_optax._core`."""
