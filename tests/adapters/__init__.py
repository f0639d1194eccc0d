"""Tests of adam_optax.adapters: Keras and Levanter take the steps."""
