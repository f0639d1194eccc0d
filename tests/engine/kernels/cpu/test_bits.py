"""The bits of loops: those of XLA op by op where products are rounded before they are added."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import adam_optax as ao
from tests.engine.kernels.cpu.looping import (
    FORMATS,
    apart,
    loops_in,
    op_by_op,
    parameters,
    rated,
    run,
    uncontracted,
    wild,
)
from tests.support.cases import gradients
from tests.support.versions import SINCE_0_10_2

RULES = [
    name for name in ao.rules.__all__ if name not in ("Rule", "clip_step_by_history", "variant")
]
SUMS = {"adafactor", "adam_mini", "adamh", "adamp", "came", "lamb", "mars", "mars_lion"}
SUMS |= {"novograd", "stable_adam"}
"""Rules that sum over a leaf, which a jitted program does in another order than op by op."""
SHAPES = {
    "flat": (301,),
    "ragged": (37, 201),
    "row": (1, 130),
    "three": (3, 5, 70),
    "one": (1,),
    "thin": (200, 2),
}
pytestmark = SINCE_0_10_2
HALVES = ("bfloat16", "float16")


def bits_apart(one: Any, shape: tuple[int, ...], dtypes: Any, steps: int, applies: bool) -> int:
    """Count the elements whose bits a loop and XLA op by op do not agree on."""
    p = parameters(shape, jnp.dtype(dtypes[1]))
    grads = [wild(seed, shape, jnp.dtype(dtypes[0])) for seed in range(steps)]
    with ao.cpu_loops("always"), uncontracted():
        found = run(one, p, grads, applies)
        step = lambda g, s, p: one.update(g, s, p, applies=applies)  # noqa: E731
        assert loops_in(step, grads[0], one.init(p), p) == 1
    with op_by_op():
        return apart(found, run(one, p, grads, applies))


SOME_FORMATS = ("dense()", "stochastic()", "pair()", "int8(100)")
"""One of each kind; a format's operations are the same beside every rule."""


def pairs_of_rule_and_format() -> list[Any]:
    """Every rule with a format of each kind, and one with all formats.

    The scalar moment of `scheduled_nadam` is a block of its own, which is left to XLA.
    """
    found = []
    for rule in RULES:
        for name, storage in FORMATS.items():
            if rule != "adam" and name not in SOME_FORMATS:
                continue
            if rule == "scheduled_nadam" and name == "int8(100)":
                continue
            try:
                rated(getattr(ao.rules, rule)(), storage)
            except ValueError:  # a format of other moments
                continue
            if rule not in SUMS:
                found.append(pytest.param(rule, name, id=f"{rule}-{name}"))
    return found


@pytest.mark.matrix(keep=0)
@pytest.mark.parametrize(("rule", "name"), pairs_of_rule_and_format())
def test_a_rule_in_a_format_has_the_bits_of_xla_op_by_op(rule: str, name: str) -> None:
    one = rated(getattr(ao.rules, rule)(), FORMATS[name])
    assert bits_apart(one, (3, 137), ("float32", "float32"), 2, True) == 0


@pytest.mark.matrix(keep=0, quick=["flat-dense()"])
@pytest.mark.parametrize(
    ("shape", "name"),
    [
        pytest.param(shape, name, id=f"{shape}-{name}")
        for name in ("dense()", "pair()", "int8(100)", "float8()")
        for shape in SHAPES
        if shape != "one" or name in ("dense()", "pair()")  # a block would look like an element
    ],
)
def test_leaves_of_all_shapes(shape: str, name: str) -> None:
    one = rated(ao.rules.adam(), FORMATS[name])
    assert bits_apart(one, SHAPES[shape], ("float32", "float32"), 2, True) == 0


@pytest.mark.matrix(keep=0, quick=["dense('bfloat16')-bfloat16-bfloat16-False"])
@pytest.mark.parametrize("applies", [True, False])
@pytest.mark.parametrize(
    ("g", "p"),
    [(g, p) for g in ("float32", *HALVES) for p in ("float32", *HALVES) if {g, p} != set(HALVES)],
)
@pytest.mark.parametrize("name", ["dense('bfloat16')", "pair()", "int8(100)"])
def test_gradients_and_parameters_of_16_bits(name: str, g: str, p: str, applies: bool) -> None:
    one = rated(ao.rules.adam(), FORMATS[name])
    assert bits_apart(one, (5, 137), (g, p), 2, applies) == 0


@pytest.mark.matrix(keep=0)
@pytest.mark.parametrize("name", ["dense()", "stochastic()", "pair()"])
@pytest.mark.parametrize("decay", [None, 0.01, lambda t: 0.01 * jnp.asarray(t + 1, jnp.float32)])
def test_numbers_that_follow_schedules(name: str, decay: Any) -> None:
    rule = ao.rules.adam(
        b1=lambda t: 0.9 - 0.01 * jnp.asarray(t, jnp.float32),
        b2=lambda t: 0.99 + 0.001 * jnp.asarray(t, jnp.float32),
        eps=lambda t: 1e-8 * (1 + jnp.asarray(t, jnp.float32)),
    )
    one = rated(rule, FORMATS[name], decay, lambda t: 1e-3 / (1 + jnp.asarray(t, jnp.float32)))
    assert bits_apart(one, (3, 137), ("float32", "float32"), 3, True) == 0


@pytest.mark.matrix(keep=1, quick=["pair()", "int8(100)"])
@pytest.mark.parametrize("name", FORMATS)
def test_beside_xla_s_compiled_step(name: str) -> None:
    """States are the same; XLA fuses other products into sums, as it likes."""
    one, shape = rated(ao.rules.adam(), FORMATS[name]), (37, 201)
    p, grads = parameters(shape), [wild(seed, shape) for seed in range(3)]
    found = {}
    for choice in ("always", "never"):
        with ao.cpu_loops(choice):
            found[choice] = run(one, p, grads)
    with ao.cpu_loops("always"):
        assert loops_in(one.update, grads[0], one.init(p), p) == 1
    loop, plain = found["always"], found["never"]
    assert apart(loop[3:], plain[3:]) == 0
    # Found: 104 of 7,437, by one rounding of a parameter of up to 4.
    assert apart(loop[:3], plain[:3]) < 3 * p.size / 100
    for x, y in zip(loop[:3], plain[:3], strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=2.0**-22)


def test_few_codes_on_a_border_are_their_neighbours_in_xla_s_compiled_step() -> None:
    """In a large leaf some logarithms, fused otherwise, are rounded to the next code of pair()."""
    shape, steps = (512, 1024), 3
    grads = gradients(steps, shape[0] * shape[1]).reshape(steps, *shape).astype(np.float32)
    one, p = rated(ao.rules.adam(), FORMATS["pair()"]), parameters(shape)
    found = []
    for choice in ("always", "never"):
        with ao.cpu_loops(choice):
            found.append(run(one, p, list(jnp.asarray(grads)))[steps:])
    assert sum(x.size for x in found[0]) > p.size
    assert apart(*found) <= 30  # found: 4 of 524,288


@pytest.mark.quick
@pytest.mark.parametrize("rule", ["adamp", "came"])
def test_a_rule_that_asks_for_the_number_of_axes_is_not_traced_on_one(rule: str) -> None:
    p, g = np.random.default_rng(0).standard_normal((2, 6, 20))
    g -= p * np.sum(p * g, 0) / np.sum(p * p, 0)  # orthogonal, so that AdamP projects its step
    one = rated(getattr(ao.rules, rule)(), None)
    found = []
    for choice in ("always", "never"):
        with ao.cpu_loops(choice):
            found.append(run(one, jnp.float32(p), [jnp.float32(g)] * 3, True)[0])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-6)  # float32
