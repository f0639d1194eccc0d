"""Quantise arrays: bits of floats, blocks of neighbours, codebooks, logarithmic grids, ratios."""
