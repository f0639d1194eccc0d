"""Search for what breaks a claim: `python -m benchmarks.adversary AREA --seed S --seconds N`."""
