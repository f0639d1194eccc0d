"""Storage formats, by themselves: what one encoding does to a moment."""
