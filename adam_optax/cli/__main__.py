"""Run `python -m adam_optax.cli`, which is the same as the command `adam-optax`.

Here Ctrl-C is Python's own to answer while JAX is imported: the package comes before this module.
"""

from adam_optax_command import run

if __name__ == "__main__":
    run()
