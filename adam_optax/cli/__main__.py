"""Run `python -m adam_optax.cli`, which is the same as the command `adam-optax`.

Only while JAX is imported does Python answer Ctrl-C here: it imports the package before this
module.
"""

from adam_optax_command import run

if __name__ == "__main__":
    run()
