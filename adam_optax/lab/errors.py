"""Define the errors that the lab raises for bad input, bad data and missing packages."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from adam_optax._core.extras import MissingExtraError, needs_extra


class LabError(ValueError):
    """Report a mistake that the caller can put right; the message says how."""


class DataError(LabError):
    """Report a data file that is missing, damaged or not what the problem expects."""


class Interrupted(KeyboardInterrupt):
    """Report Ctrl-C in a run of which some epochs are finished.

    Attributes:
        partial: The record of the run up to its last finished epoch: what would have been returned.
    """

    def __init__(self, partial: Any) -> None:
        super().__init__("stopped by Ctrl-C; partial holds what is finished")
        self.partial = partial


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or the name of its type if it says nothing."""
    return next(filter(None, map(str.strip, str(error).splitlines())), type(error).__name__)


@contextmanager
def needs_lab_extra(feature: str, extra: str = "lab") -> Iterator[None]:
    """Turn a failed import in the body into the command that installs the lab's packages.

    Args:
        feature: The feature that imports the package: the subject of the message.
        extra: The extra that contains the package.

    Raises:
        LabError: If the body fails to import a module.
    """
    try:
        with needs_extra(feature, extra):
            yield
    except MissingExtraError as error:
        raise LabError(str(error)) from error
