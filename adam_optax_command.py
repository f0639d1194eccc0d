"""Start the command `adam-optax`, so that Ctrl-C is answered before JAX is imported, too.

This module stands beside the package: to import anything of the package takes JAX, and seconds.
"""

import os
import signal
from typing import NoReturn


def run() -> NoReturn:
    """Run the command line of this process, and end the process with its exit code."""
    answer_ctrl_c()
    from adam_optax.cli.main import run as run_command

    run_command()


def answer_ctrl_c() -> None:
    """Let Ctrl-C end the process in one line until the command answers it itself."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop)


def _stop(number: int, frame: object) -> NoReturn:
    """End the process: an import that is broken off inside jaxlib would crash."""
    os.write(2, b"adam-optax: interrupted\n")
    os._exit(130)
