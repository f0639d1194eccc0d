"""Start the command `adam-optax`, so that Ctrl-C is answered before JAX is imported, too.

This module stands beside the package: to import anything of the package takes JAX, and seconds.
"""

import os
import signal
from typing import NoReturn


def run() -> NoReturn:
    """Run the command line of this process, and end the process with its exit code."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop)
    from adam_optax.cli.start import run as run_command

    run_command()


def _stop(number: int, frame: object) -> NoReturn:
    """End the process: an import that is broken off inside jaxlib would crash."""
    os.write(2, b"adam-optax: interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    run()
