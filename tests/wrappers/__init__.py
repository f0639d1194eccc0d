"""Test `adam_optax._wrappers`."""
