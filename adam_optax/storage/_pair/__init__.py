"""Keep both moments of Adam in one code."""
