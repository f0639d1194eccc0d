"""Tests of adam_optax.release: layers take their steps in the backward pass."""
