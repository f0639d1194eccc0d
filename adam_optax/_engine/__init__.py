"""Run a rule: scalars of the step, one leaf's step, trees, sharding and kernels."""
