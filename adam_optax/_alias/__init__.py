"""The optimisers under optax's names: `family`, and `others` with arguments of their own."""
