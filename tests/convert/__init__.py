"""Test conversion, without PyTorch and Keras where their layouts can be made by hand."""
