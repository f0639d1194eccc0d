"""Programs of others, run with optax and with this library."""
