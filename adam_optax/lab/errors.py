"""What the lab raises when the input, the data or the installation is at fault."""

from collections.abc import Iterator
from contextlib import contextmanager


class LabError(ValueError):
    """A mistake that the caller can put right; the message says how."""


class DataError(LabError):
    """A data file is missing, damaged or not what the problem expects."""


@contextmanager
def needs_lab_extra(what: str) -> Iterator[None]:
    """Turns a missing optional package into the command that installs it.

    Args:
      what: The feature that imports the package, the subject of the message.

    Raises:
      LabError: If the body fails to import a module.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        install = "pip install 'adam-optax[lab]'"
        raise LabError(f"{what} needs the lab extra: {install} ({error})") from error
