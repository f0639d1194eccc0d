"""Start the command line, or say in one line which extra brings its packages."""

import sys
from typing import NoReturn

from adam_optax._core.extras import MissingExtraError, needs_extra
from adam_optax.cli.console import BAD_INPUT, fail

_EXTRAS = {"convert": "convert", "conventions": "cli", "compile-report": "cli"}
"""The extra of a command, if it is not `lab`: `compile-report` names the compilers' itself."""


def run() -> NoReturn:
    """Run the command line of this process, and end the process with its exit code.

    The packages of the command line are an extra's. Without them one line says which extra brings
    them, and what else the command needs.
    """
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    try:
        with needs_extra(f"adam-optax {command}".strip(), _EXTRAS.get(command, "lab")):
            import rich_click  # noqa: F401
    except MissingExtraError as error:
        sys.exit(fail(f"error: {error}", BAD_INPUT))
    from adam_optax.cli.main import run as run_command

    run_command()
