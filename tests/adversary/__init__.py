"""Search for what breaks the library's claims: `search(seed, seconds)` in each module."""
