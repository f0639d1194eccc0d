"""Reproduce the experiments of the Adam paper (Kingma & Ba 2015, section 6)."""
