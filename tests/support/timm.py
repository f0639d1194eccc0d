"""Import single files of timm's optimisers, without timm's models."""

import importlib
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def timm_optimizers() -> Iterator[Callable[[str], Any]]:
    """Yield what imports a file by its name; skip the test where timm is not installed."""
    spec = importlib.util.find_spec("timm")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("pip install --no-deps timm")
    made = types.ModuleType("timm_optim")
    made.__path__ = [f"{spec.submodule_search_locations[0]}/optim"]
    sys.modules["timm_optim"] = made
    try:
        yield lambda name: importlib.import_module(f"timm_optim.{name}")
    finally:
        for name in [n for n in sys.modules if n.partition(".")[0] == "timm_optim"]:
            del sys.modules[name]
