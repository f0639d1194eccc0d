"""Test `adam_optax._engine`."""
