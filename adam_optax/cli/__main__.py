"""Run `python -m adam_optax.cli`, which is the same as the command `adam-optax`."""

from adam_optax_command import run

if __name__ == "__main__":
    run()
