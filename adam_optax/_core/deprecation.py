"""Keep names that were renamed, with a warning that says the new name."""

import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any


def renamed(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """Make a module's `__getattr__` that finds renamed attributes.

    A renamed attribute warns with `FutureWarning`, which Python shows by default, and works for at
    least one minor release; CHANGELOG.md names both names under "Deprecated".

    Args:
        module: the module's `__name__`.
        names: from old names to new ones.

    >>> from adam_optax import moments
    >>> moments.no_such_name
    Traceback (most recent call last):
    ...
    AttributeError: module 'adam_optax.moments' has no attribute 'no_such_name'
    """

    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        new = names[name]
        text = f"{module}.{name} is now {module}.{new}; the old name will be removed in 0.3"
        warnings.warn(text, FutureWarning, stacklevel=2)
        return getattr(sys.modules[module], new)

    return find
