"""Run the command `adam-optax`, or `python -m adam_optax.cli`."""
