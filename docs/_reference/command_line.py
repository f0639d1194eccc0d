"""Write the page of the command line: the help of each command, as the command prints it."""

import contextlib
import io
import os
from collections.abc import Iterator

from adam_optax.cli.main import COMMANDS, command, main

TITLE = "Command line"
WORDS = (
    "The package has one command. What follows is what `adam-optax COMMAND --help` prints. "
    "Experiments on data need the extra `lab`, `convert` the extra `convert`, `compile-report` the "
    "extra `aot`, and `conventions` the extra `cli`; each brings the command line's own packages, "
    "too."
)


def page() -> str:
    """Write the page, with a section for each command."""
    parts = [f"# {TITLE}", WORDS]
    for name in COMMANDS:
        summary = command(name).short_help or ""
        first = summary[:1].upper() + summary[1:]
        parts += [f"## {name}", f"{first}.", f"```text\n{_help(name)}\n```"]
    return "\n\n".join(parts) + "\n"


def _help(name: str) -> str:
    shown = io.StringIO()
    with _columns(80), contextlib.redirect_stdout(shown):
        main([name, "--help"])
    return "\n".join(line.rstrip() for line in shown.getvalue().splitlines()).strip()


@contextlib.contextmanager
def _columns(width: int) -> Iterator[None]:
    """Let the help wrap lines at a width, whatever terminal there is."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(width)
    try:
        yield
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before
