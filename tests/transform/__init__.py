"""Test `adam_optax._transform`, and where its transformations are used."""
