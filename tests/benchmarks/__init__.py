"""The benchmarks' own code: the peers' formats, and what is printed of them."""
