"""The loops that LLVM makes on CPUs."""
