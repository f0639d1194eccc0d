"""Bound how far one step travels through the package: calls and files, as a reader follows it."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, NamedTuple

import jax.numpy as jnp
import pytest

import adam_optax as ao
from adam_optax._engine import leaf

UNNAMED = ("<genexpr>", "<listcomp>", "<dictcomp>", "<setcomp>", "<module>")


class Route(NamedTuple):
    """Count what a call enters.

    Attributes:
        calls: named functions and lambdas of the package.
        files: the files that they are in.
    """

    calls: int
    files: int


def route(call: Callable[[], Any], root: str = "/adam_optax/") -> tuple[Any, Route]:
    """Return the result of a call, and what it entered."""
    entered: list[str] = []

    def profile(frame: FrameType, event: str, arg: Any) -> None:
        code = frame.f_code
        inside = root in code.co_filename and "/tests/" not in code.co_filename
        if event == "call" and inside and code.co_name not in UNNAMED:
            entered.append(code.co_filename)

    sys.setprofile(profile)
    try:
        result = call()
    finally:
        sys.setprofile(None)
    return result, Route(len(entered), len(set(entered)))


# What was measured, and a little room; optax.adamw takes 25 calls in 7 files, and 23 warm.
BARS = {
    "adamw": (lambda: ao.adamw(1e-3), Route(80, 9), Route(20, 5)),
    "pair()": (lambda: ao.adam(1e-3, storage=ao.storage.pair()), Route(140, 13), Route(20, 5)),
}


@pytest.mark.quick
@pytest.mark.parametrize("name", BARS)
def test_a_step_is_read_in_few_places(name: str) -> None:
    make, first_bar, warm_bar = BARS[name]
    tx, g = make(), jnp.ones(3)
    state = tx.init(g)
    leaf.compile_leaf_step.cache_clear()  # what other tests traced would be skipped
    leaf.compile_step_scalars.cache_clear()
    with ao.cpu_loops("never"):  # what writes a step as a loop is a compiler, as XLA is
        (_, state), first = route(lambda: tx.update(g, state, g))
        _, warm = route(lambda: tx.update(g, state, g))
    for found, bar in ((first, first_bar), (warm, warm_bar)):
        assert found.calls <= bar.calls
        assert found.files <= bar.files


def test_calls_are_counted() -> None:
    _, built = route(lambda: ao.adamw(1e-3))
    assert built.calls > 5
    assert built.files > 3
