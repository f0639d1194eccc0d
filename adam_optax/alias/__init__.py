"""The optimisers, under optax's names: `adam` has those written out, `family` the others."""
