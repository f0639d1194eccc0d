"""Build commands of click whose help keeps its lines, and whose errors know near misses."""

import textwrap
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from rich.text import Text
from rich_click import (
    ClickException,
    Context,
    NoSuchOption,
    Parameter,
    RichArgument,
    RichCommand,
    RichContext,
    RichHelpFormatter,
    RichOption,
    UsageError,
)

Arguments = SimpleNamespace
"""The arguments of a command by name; `command` is the command's name."""

_SYNONYMS = {
    "--lr": "--learning-rate",
    "--rate": "--learning-rate",
    "--batch": "--batch-size",
    "--bs": "--batch-size",
    "--epoch": "--epochs",
    "--optim": "--optimizer",
    "--optimiser": "--optimizer",
    "--optimisers": "--optimizer",
    "--data": "--data-dir",
    "--output": "--out",
    "--continue": "--resume",
}
"""Options by the names that users of other tools type."""


def option(*names: str, **how: Any) -> Parameter:
    """Define an option of a command; its help says the default in square brackets."""
    return RichOption(names, **how)


def argument(name: str, help: str, **how: Any) -> Parameter:
    """Define an argument of a command, whose place says what it is."""
    return RichArgument([name], metavar=name.upper(), help=help, **how)


def wrapped(text: str, width: int) -> str:
    r"""Wrap each line of a text that is too wide; what is wrapped is as deep as the line began.

    >>> print(wrapped("a:\n  bb cc dd", 8))
    a:
      bb cc
      dd
    """
    lines = []
    for line in text.splitlines():
        indent = line[: len(line) - len(line.lstrip())]
        lines += textwrap.wrap(line, width, subsequent_indent=indent) or [""]
    return "\n".join(lines)


class Command(RichCommand):
    """Run a function with the parsed arguments; its errors of some kinds become click's.

    Args:
        name: Name of the command.
        summary: The line in the list of commands, in lower case.
        details: The rest of the description, which follows the summary in the command's own help.
        params: The options and arguments.
        run: Runs the command with the parsed arguments, and returns the exit code.
        examples: Lines that show how to call the command.
        epilog: Returns the help text below the examples.
        refusals: Kinds of errors that are the user's to put right.
        elsewhere: By an option that the command lacks, what to write instead.
    """

    def __init__(
        self,
        name: str,
        summary: str,
        details: str,
        params: Sequence[Parameter],
        run: Callable[[Arguments], int],
        *,
        examples: str,
        epilog: Callable[[], str],
        refusals: tuple[type[Exception], ...] = (),
        elsewhere: dict[str, str] | None = None,
    ) -> None:
        text = f"{summary[0].upper()}{summary[1:]}{details}"
        super().__init__(name=name, params=list(params), help=text, short_help=summary)
        self._run, self._refusals, self._elsewhere = run, refusals, elsewhere or {}
        self._examples, self._epilog = examples, epilog
        self.callback = self._call

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Parse the arguments; an unknown option is answered with the option that was meant."""
        try:
            return super().parse_args(ctx, args)
        except NoSuchOption as error:
            name = error.option_name
            known = {option for parameter in self.params for option in parameter.opts}
            if name in self._elsewhere:
                text = f"{self.name} takes no {name}; write {self._elsewhere[name]}"
                raise ClickException(text) from error
            meant = _SYNONYMS.get(name)
            if meant not in known:
                raise
            text = f"No such option {name!r}. Did you mean {meant!r}?"
            raise UsageError(text, ctx) from error

    def format_epilog(self, ctx: RichContext, formatter: RichHelpFormatter) -> None:  # type: ignore[override]
        """Write examples and what follows them, line by line."""
        formatter.write(Text(f"examples:\n{self._examples}"))
        formatter.write(Text(wrapped(self._epilog(), formatter.width or 80)))

    def _call(self, **values: Any) -> int:
        try:
            return self._run(Arguments(command=self.name, **values))
        except self._refusals as error:
            raise ClickException(str(error)) from error
