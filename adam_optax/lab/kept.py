"""Keep values that take long to make, for all threads that ask for them."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

_T = TypeVar("_T")


class Kept:
    """Make each value once, whichever thread asks first, and keep the latest of them.

    Args:
        most: Number of values that are kept; `None`: all.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most, self._lock = most, threading.Lock()
        self._values: OrderedDict[Hashable, tuple[threading.Lock, list[Any]]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], _T]) -> _T:
        """Return the value of a key, made if it is not there; other keys are not waited for."""
        with self._lock:
            lock, found = self._values.setdefault(key, (threading.Lock(), []))
            self._values.move_to_end(key)
            while self._most is not None and len(self._values) > self._most:
                self._values.popitem(last=False)
        with lock:
            if not found:
                found.append(make())
            value: _T = found[0]
            return value
