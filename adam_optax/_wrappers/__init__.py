"""Wrap and inspect optax transformations: clipping, offloading, memory, state, citations."""
