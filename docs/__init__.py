"""Hold the site: Markdown pages, and the code that writes the reference from the docstrings."""
