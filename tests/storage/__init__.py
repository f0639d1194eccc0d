"""Test `adam_optax.storage`."""
