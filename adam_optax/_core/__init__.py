"""Share arithmetic, dithering, argument checks and file writing among all packages above."""
