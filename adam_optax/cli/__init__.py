"""Run the command `adam-optax`."""
