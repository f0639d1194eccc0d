"""Run a leaf's step tile by tile as a kernel: one pass over memory where XLA makes several.

A format that shares a unit by block needs a reduction before it can write, and XLA ends a fusion at
a reduction; of a pair on TPUs it computes the code apart from the step. The kernels here run the
very step of `leaf.py` on one tile at a time (`tile.py`), for TPUs by Mosaic and for GPUs by
Triton or Mosaic, so that no formula stands twice. `primitive.py` chooses them while the program is
compiled for a platform, and imports Pallas then (`backends.py`); everywhere else, under every
transformation, and where JAX has no Pallas for the platform, the plain step runs.

On one CPU the step is a loop of LLVM's instructions (`cpu/`), by a primitive of its own.
"""
