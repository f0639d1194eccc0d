"""Wrap, inspect and convert optax transformations: clipping, offloading, memory, citations."""
