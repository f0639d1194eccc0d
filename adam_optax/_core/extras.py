"""Import the packages of an extra, and say how to install one that is missing."""

from collections.abc import Iterator
from contextlib import contextmanager


class MissingExtraError(ValueError):
    """Report that a package of an extra is not installed; the message says how to install it."""


@contextmanager
def needs_extra(feature: str, extra: str) -> Iterator[None]:
    """Turn a failed import in the body into the command that installs the missing package.

    Args:
        feature: The feature that imports the package: the subject of the message.
        extra: The extra of `adam-optax` that contains the package, `"lab"` say.

    Raises:
        MissingExtraError: If the body fails to import a module.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        message = f"{feature} needs the {extra} extra: pip install 'adam-optax[{extra}]' ({error})"
        raise MissingExtraError(message) from error
