"""The operations inside kernels, of which the compilers that users have must know every one.

`tests/aot` compiles the kernels; this test is for machines that have no such compiler.
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax.extend.core import Jaxpr, JaxprEqn, jaxprs_in_params

import adam_optax as ao
from adam_optax._core.dither import TileOffset
from adam_optax._engine.kernels.kernel import Kernel
from adam_optax._engine.kernels.mosaic import ROWS
from adam_optax._engine.kernels.tile import dtype_of, traced
from tests.engine.kernels.running import FORMATS

UNSIGNED = frozenset(
    """
    add and bitcast_convert_type broadcast_in_dim convert_element_type eq iota jit mul ne not or
    select_n shift_left shift_right_logical sub xor
    """.split()  # noqa: SIM905
)
"""The operations on unsigned integers that `tests/aot` has compiled under each libtpu that a
supported jax asks for. Not in the list: max, min and clamp, which libtpu 0.0.42 does not know."""


def equations(jaxpr: Jaxpr) -> Iterator[JaxprEqn]:
    for equation in jaxpr.eqns:
        yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from equations(inner)


def kernel(storage: Any) -> Kernel:
    """Return the only kernel of a step of Adam."""
    tx, g = ao.adam(0.1, storage=storage), jnp.zeros((256, 512))
    with ao.cpu_loops("never"):
        step = jax.make_jaxpr(lambda g: ao.step(tx, g, tx.init(g), g))(g)
    found = [e for e in equations(step.jaxpr) if e.primitive.name == "adam_optax_fused_step"]
    (only,) = found
    one: Kernel = only.params["kernel"]
    return one


@pytest.mark.quick
@pytest.mark.parametrize("name", FORMATS)
def test_the_oldest_compiler_knows_the_operations_on_unsigned_integers(name: str) -> None:
    one = kernel(FORMATS[name])
    whole = one.layout.rows, one.layout.columns
    step = lambda *flat: one.step(*flat[:-2], TileOffset(whole, flat[-2:]))  # noqa: E731
    found = list(equations(traced(step, one.layout, ROWS).jaxpr))
    unsigned = {
        e.primitive.name
        for e in found
        if any(jnp.issubdtype(dtype_of(v), jnp.unsignedinteger) for v in (*e.invars, *e.outvars))
    }
    assert unsigned <= UNSIGNED
    # libtpu 0.0.40 cannot choose one of two masks of elements of unlike widths.
    selected = {dtype_of(e.outvars[0]) for e in found if e.primitive.name == "select_n"}
    assert jnp.dtype(bool) not in selected
