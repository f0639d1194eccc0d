"""Count the bytes per parameter of a step on many TPUs: `python -m benchmarks.sharded_bytes`.

The step is `ao.step` with `pair()`, under automatic sharding, with and without the parameters'
shardings; no chip talks to another. Models are shapes of language models whose layers are stacked
on the first axis, as a scan over layers has them; the rows of each matrix are spread over one axis
of the mesh, the columns over the other. The benchmark needs the extra `aot`, and no accelerator; it
takes about ten minutes.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import adam_optax as ao
from adam_optax.aot import Compiled, facts, targets

jax.config.update("jax_platforms", "cpu")  # accelerators are compiled for, not used


class Model(NamedTuple):
    """Hold the sizes of a language model.

    Attributes:
        layers: Number of layers.
        width: Width of the residual stream.
        hidden: Width of the feed-forward networks.
        keys: Width of keys and of values.
        words: Number of words.
    """

    layers: int
    width: int
    hidden: int
    keys: int
    words: int

    def shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Return the parameters, layers on the first axis."""
        narrow, wide = (self.layers, self.width), (self.layers, self.hidden)
        shapes: dict[str, tuple[int, ...]] = {
            "norms": (2 * self.layers, self.width),
            **dict.fromkeys(("query", "out"), (*narrow, self.width)),
            **dict.fromkeys(("key", "value"), (*narrow, self.keys)),
            **dict.fromkeys(("gate", "up"), (*narrow, self.hidden)),
            "down": (*wide, self.width),
            **dict.fromkeys(("embed", "head"), (self.words, self.width)),
        }
        return {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}


MODELS = {
    "7.5 B": Model(32, 4096, 14336, 1024, 65536),
    "70 B": Model(80, 8192, 28672, 1024, 128256),
}
CHIPS = {16: (4, 4), 64: (8, 8), 256: (16, 16), 1024: (64, 16)}
"""The mesh for each number of v5e chips; 1,024 are four pods."""
STORAGE = ao.storage.pair()


def mesh(chips: int) -> Mesh:
    """Return the mesh of so many v5e chips."""
    side = min(math.isqrt(chips), 16)
    found = targets.topology(f"v5e:{side}x{side}", slices=chips // side**2)
    return Mesh(np.array(found).reshape(CHIPS[chips]), ("rows", "columns"))


def compiled(model: Model, over: Mesh, told: bool) -> Compiled:
    """Compile `ao.step` of AdamW; `told`: with the shardings of the parameters."""
    tx, params = ao.adamw(1e-4, storage=STORAGE), model.shapes()

    def placed(x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        stacked = (1,) * max(x.ndim - 2, 0)
        parts = (*stacked, *over.devices.shape)[: x.ndim if x.ndim > 1 else 0]
        names = (*[None] * len(stacked), *over.axis_names)
        fits = zip(names, parts, x.shape, strict=False)
        spec = PartitionSpec(*(n if size % k == 0 else None for n, k, size in fits))
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(over, spec))

    params, state = jax.tree.map(placed, (params, jax.eval_shape(tx.init, params)))
    where = jax.tree.map(lambda x: x.sharding, params) if told else None
    step = jax.jit(lambda p, s, g: ao.step(tx, g, s, p, shardings=where), donate_argnums=(0, 1))
    done = step.trace(params, state, params).lower(lowering_platforms=("tpu",)).compile()
    total = sum(math.prod(x.shape) for x in jax.tree.leaves(params))
    return facts(done, total, over.size)


def table() -> str:
    """Return the table: a row per model and number of chips."""
    rows = [["parameters", "chips", "`ao.step`", "with `shardings`"], ["---"] * 4]
    for name, model in MODELS.items():
        for chips in CHIPS:
            cells = [_cell(model, mesh(chips), told) for told in (False, True)]
            rows.append([name, f"{chips:,}", *cells])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _cell(model: Model, over: Mesh, told: bool) -> str:
    try:
        found = compiled(model, over, told)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return "no room"
    assert found.collectives == {}
    return f"{found.moved:.1f}"


if __name__ == "__main__":
    print(table())
