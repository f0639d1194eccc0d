"""README and the docstrings run, and what is measured stands where it is said to stand."""

import doctest
import functools
import importlib
import pkgutil
import types
from collections.abc import Iterator
from typing import Any

import jax
import pytest

import adam_optax as ao
from benchmarks import differences
from tests.support import measured, readme

NEEDS_MORE = ("adam_optax.lab", "adam_optax._engine.kernels.mosaic_gpu")
"""What needs an extra, or a newer jax than there may be."""


def _modules() -> Iterator[str]:
    for module in pkgutil.walk_packages(ao.__path__, "adam_optax."):
        if not module.name.startswith(NEEDS_MORE):
            yield module.name


@pytest.mark.matrix(keep=6)
@pytest.mark.parametrize("name", ["adam_optax", *_modules()])
def test_examples_in_docstrings_run(name: str) -> None:
    module = importlib.import_module(name)
    with jax.numpy_dtype_promotion("standard"):
        failed, _ = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert failed == 0


def _public() -> list[tuple[str, Any]]:
    kinds = (type, types.FunctionType, functools.partial)
    return [(n, getattr(ao, n)) for n in ao.__all__ if isinstance(getattr(ao, n), kinds)]


@pytest.mark.parametrize(("name", "thing"), _public(), ids=[n for n, _ in _public()])
def test_everything_public_is_documented(name: str, thing: Any) -> None:
    text = thing.__doc__ or ""
    assert len(text) > 40, name
    assert not text.startswith("partial("), name


@pytest.mark.heavy
def test_readme_code_runs() -> None:
    scope: dict[str, Any] = {}
    blocks = readme.blocks("python")
    assert blocks
    with jax.numpy_dtype_promotion("standard"):
        for block in blocks:
            exec(compile(block, "README.md", "exec"), scope)


def test_readme_has_its_two_commands() -> None:
    assert "compare digits" in readme.command("main-job")
    assert "pytest" in readme.command("test-command")


def test_a_page_has_the_differences_as_they_are_measured() -> None:
    assert measured.quoted("differences") == differences.table()
