"""Conversion without PyTorch and Keras: their layouts are made by hand."""
