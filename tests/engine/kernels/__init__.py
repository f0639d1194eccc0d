"""Kernels: the step of a leaf tile by tile, interpreted on a CPU."""
