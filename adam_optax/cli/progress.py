"""Show how far a command is: what runs now, an honest share, and the time that remains."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

_GUESSES = {"compiling": 3.0, "drawing": 3.0}
"""Seconds of a unit of a stage before one was measured."""


class Estimate:
    """Estimate the share of a command that is done, from the time that its stages took so far.

    A command has stages of some kinds, "compiling" say, and each kind has units, epochs say. What
    remains is the units that are left, at the time that those of the same kind took.

    Args:
        planned: Number of units by kind.
        clock: Returns the time in seconds.
    """

    def __init__(
        self, planned: Mapping[str, float], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.planned, self._clock = dict(planned), clock
        self._done = dict.fromkeys(planned, 0.0)
        self._measured: dict[str, float] = {}
        self._spent: dict[str, float] = {}
        self._kind, self._since, self._begin = "", clock(), clock()

    def begin(self, kind: str) -> None:
        """Begin a stage; a stage of compiling or drawing before it is one unit, now done."""
        if self._kind in _GUESSES:
            self.advance(self._kind, self._done.get(self._kind, 0.0) + 1)
        self._kind, self._since = kind, self._clock()

    def advance(self, kind: str, done: float) -> None:
        """Note that so many units of a kind are done.

        Units that are done outside a stage of their kind were kept on disk: they took no time, and
        say nothing of what the others will take.
        """
        now = self._clock()
        if kind == self._kind:
            units = done - self._done.get(kind, 0.0)
            self._measured[kind] = self._measured.get(kind, 0.0) + units
            self._spent[kind] = self._spent.get(kind, 0.0) + now - self._since
            self._since = now
        self._done[kind] = done
        self.planned[kind] = max(done, self.planned.get(kind, 0.0))

    def remaining(self) -> float | None:
        """Return the seconds that remain; `None` until a unit of every planned kind is known."""
        total = 0.0
        for kind, planned in self.planned.items():
            left = planned - self._done.get(kind, 0.0)
            if left <= 0:
                continue
            each = self._each(kind)
            if each is None:
                return None
            spent = self._clock() - self._since if kind == self._kind else 0.0
            total += max(left * each - spent, (left - 1) * each, 0.0)
        return total

    def share(self) -> float | None:
        """Return the share that is done, 0 to 1; `None` if what remains is unknown."""
        remaining = self.remaining()
        if remaining is None:
            return None
        elapsed = self._clock() - self._begin
        return elapsed / (elapsed + remaining) if elapsed + remaining > 0 else 1.0

    def _each(self, kind: str) -> float | None:
        if self._measured.get(kind):
            return self._spent[kind] / self._measured[kind]
        return _GUESSES.get(kind)


@dataclass(frozen=True)
class Shown:
    """Take what a command reports of its work, and show it.

    Attributes:
        stage: Called when a stage begins, with its kind and what of.
        advance: Called with a kind and the number of its units that are done.
        plan: Called with a kind and the number of its units, once that is known.
        close: Called when nothing is left to show.
    """

    stage: Callable[[str, str], None]
    advance: Callable[[str, float], None]
    plan: Callable[[str, float], None]
    close: Callable[[], None]


@contextmanager
def progress(quiet: bool, planned: Mapping[str, float]) -> Iterator[Shown]:
    """Show a bar on stderr in the body, if stderr is a terminal.

    Args:
        quiet: Whether to show nothing.
        planned: Number of units by kind of stage.
    """
    console, estimate = Console(stderr=True), Estimate(planned)
    disable = quiet or not console.is_terminal
    with _Bar(estimate, console=console, disable=disable, transient=True) as bar:

        def stage(kind: str, what: str) -> None:
            estimate.begin(kind)
            bar.say(f"{kind} {what}".strip())

        def plan(kind: str, units: float) -> None:
            estimate.planned[kind] = units

        yield Shown(stage, estimate.advance, plan, bar.stop)


class _Bar(Progress):
    """Show an estimate that changes as time goes by, also where nothing is reported."""

    def __init__(
        self, estimate: Estimate, console: Console, disable: bool, transient: bool
    ) -> None:
        self._estimate = estimate
        super().__init__(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TaskProgressColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            disable=disable,
            transient=transient,
            redirect_stdout=sys.stdout.isatty(),  # what goes into a file stays out of the bar
        )
        self.add_task("starting", total=None, left="")

    def say(self, text: str) -> None:
        """Show what runs now."""
        for task in self.task_ids:
            self.update(task, description=text)

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return the bar as it is now."""
        share, left = self._estimate.share(), self._estimate.remaining()
        if share is not None and left is not None:
            said = f"{time_text(left)} left"
            for task in self.task_ids:  # there is none yet while rich makes the bar
                self.update(task, total=1.0, completed=share, left=said)
        return super().get_renderables()


def time_text(seconds: float) -> str:
    """Return a time in words.

    >>> time_text(8.4), time_text(75), time_text(8000)
    ('8 s', '1 min 15 s', '2 h 13 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
