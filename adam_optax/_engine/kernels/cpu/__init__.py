"""Compile a leaf's step as one loop of LLVM, which XLA calls on CPUs."""
