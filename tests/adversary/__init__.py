"""Search, with a seed, for what breaks the claims of this library; see `benchmarks.adversary`."""
