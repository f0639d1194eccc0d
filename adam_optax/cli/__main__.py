"""Run `python -m adam_optax.cli`, which is the same as the command `adam-optax`."""

import sys

from adam_optax.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
