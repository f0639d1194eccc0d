"""Define the optimisers and `scale_by_*` transformations under optax's names, by algorithm.

`options` has the keyword arguments that all of them share; `_build` joins them to the engine.
"""
