"""Released layers take the step of all gradients at once, to the bit.

XLA makes the steps here: a loop for a CPU (`ao.cpu_loops`) rounds a parameter as its length has it.
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao
from tests.release.model import LAYERS, assert_same, block, loss, parameters, trained
from tests.support.family import ONE_EACH, Member, by_id
from tests.support.formats import FORMATS

SCHEDULE = optax.cosine_decay_schedule(1e-2, 10)


@pytest.fixture(autouse=True)
def _made_by_xla() -> Iterator[None]:
    with (
        ao.cpu_loops("never"),
        jax.numpy_dtype_promotion("standard"),
    ):  # optax's schedules and links
        yield


def of_layers(path: str, p: Any) -> int:
    return int(path.startswith("layers/"))


def by_path() -> Any:
    """Return an optimiser in which all is by path or by the shape of whole parameters."""
    rate = SCHEDULE * ao.by_path({"layers/in/.*": 0.5, "head": 0.0, ".*": 1.0})
    storage = lambda path, p: (  # noqa: E731
        ao.storage.pair() if p.size > LAYERS * 64 else {"mu": ao.storage.stochastic()}
    )
    rate_of_nu = ao.by_path(
        {"layers/.*": optax.linear_schedule(0.9, 0.999, 5), "embed": 0.99, ".*": 0.95}
    )
    mask = lambda params: jax.tree.map(lambda p: p.ndim > 1, params)  # noqa: E731
    return ao.adamw(rate, b2=rate_of_nu, storage=storage, weight_decay=0.1, mask=mask)


CASES: dict[str, Any] = {
    "adamw": lambda: ao.adamw(1e-2),
    "pair()": lambda: ao.adamw(1e-2, storage=ao.storage.pair()),
    "stacked int8()": lambda: ao.adam(SCHEDULE, storage=ao.storage.int8(), stacked=of_layers),
    "lamb": lambda: ao.lamb(1e-2, stacked=of_layers),
    "factored": lambda: ao.adafactor(1e-2, min_dim_size_to_factor=4, stacked=of_layers),
    "by path": by_path,
    "frozen": lambda: ao.adam(ao.by_path({"layers/in/.*": ao.FROZEN, ".*": 1e-2})),
    "L2": lambda: ao.rmsprop(1e-2, weight_decay=0.1, momentum=0.9),
    "chain": lambda: optax.chain(
        optax.clip(0.1),
        ao.scale_by_adam(),
        optax.add_decayed_weights(0.1),
        optax.scale_by_learning_rate(SCHEDULE),
    ),
    "partition": lambda: optax.partition(
        {"a": ao.adam(1e-2), "b": ao.sgd(1e-2)},
        lambda params: jax.tree.map_with_path(
            lambda path, _: "b" if "bias" in str(path) else "a", params
        ),
    ),
    "injected": lambda: optax.inject_hyperparams(ao.adamw)(learning_rate=SCHEDULE),
    "averaged": lambda: optax.chain(ao.adam(1e-2), ao.temporal_average()),
    "averaged with a warm-up": lambda: optax.chain(
        ao.adam(1e-2), ao.temporal_average(warmup=True, storage=ao.storage.stochastic())
    ),
    "clipped by layer": lambda: optax.chain(
        ao.clip_by_block_rms(1e-3, stacked=of_layers), ao.adamw(1e-2)
    ),
    "clipped by history": lambda: ao.optimizer(
        ao.rules.clip_step_by_history(ao.rules.adam(), warmup_steps=1), 1e-2, stacked=of_layers
    ),
    "folded": lambda: ao.fold_micro_batches(ao.adamw, 2, learning_rate=SCHEDULE),
}


ROUNDED = {"injected": 1e-6, "by path": 1e-6, "folded": 1e-6}
"""Where XLA multiplies by the rate and adds in one rounding, in one of the programs."""
ROUNDED |= {"clipped by layer": 1e-6, "clipped by history": 1e-6}
"""Where XLA sums squares of a layer in another order than those of a stack, on CPUs of 16 lanes."""


@pytest.mark.matrix(keep=3, quick=["adamw"])
@pytest.mark.parametrize("name", CASES)
def test_a_step_has_the_same_bits(name: str) -> None:
    assert_same(*trained(CASES[name](), loss, parameters()), rtol=ROUNDED.get(name, 0.0))


@pytest.mark.heavy
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("stacked", [None, of_layers])
def test_each_storage_has_the_same_bits(name: str, stacked: Any) -> None:
    if "factored" in name and stacked is None:
        pytest.skip("refused where its matrices are long enough")
    storage = lambda path, p: FORMATS[name] if p.ndim > 1 else None  # noqa: E731  # no blocks of one
    tx = ao.adamw(1e-2, storage=storage, stacked=stacked)
    assert_same(*trained(tx, loss, parameters()))


BY_LENGTH = {"adam_atan2", "adamh", "came", "mars", "mars_lion"}
"""Variants whose arc tangent, means or norms XLA for CPUs computes, and so rounds, in vectors or
one by one, as an array's length has it: adamh's and mars_lion's on CPUs of 16 lanes."""


@pytest.mark.heavy
@pytest.mark.parametrize("member", **by_id(ONE_EACH))
def test_each_variant_has_the_same_bits(member: Member) -> None:
    rtol = 1e-6 if member.name in BY_LENGTH else 0.0  # some roundings of float32
    assert_same(*trained(member.ours(stacked=of_layers), loss, parameters()), rtol=rtol)


@pytest.mark.matrix(keep=1)
@pytest.mark.parametrize("link", ["stochastic_rounding", "kahan", "split_master"])
def test_sixteen_bit_parameters_are_rounded_alike(link: str) -> None:
    """The dither of a layer's element is that of its place in the whole stack."""
    tx = optax.chain(ao.adamw(1e-3), getattr(ao.precision, link)())
    assert_same(*trained(tx, loss, parameters(jnp.bfloat16)))


@pytest.mark.heavy
def test_a_list_of_layers_takes_the_same_step() -> None:
    params = parameters()
    apart = [jax.tree.map(lambda x, i=i: x[i], params["layers"]) for i in range(LAYERS)]
    params |= {"layers": apart}

    def of_list(call: Any, params: Any) -> Any:
        def scan(block: Any, h: Any, layers: Any) -> Any:
            for layer in layers:
                h, _ = call(lambda p, h: block(h, p), layer, h)
            return h, None

        return loss(scan, params)

    adamw = ao.adamw(SCHEDULE, weight_decay=ao.by_path({".*bias": 0.0, ".*": 0.1}))
    tx = optax.chain(ao.clip_by_block_rms(1e-3), adamw)
    # XLA for CPUs fuses the sum that is a bias's gradient with the bias's step in one program.
    assert_same(*trained(tx, of_list, params, layers=r"layers/\d+"), rtol=1e-5)


@pytest.mark.heavy
def test_what_layers_close_over_and_return_has_its_gradient() -> None:
    """A shared parameter, keys beside the layers, outputs of each layer, integers in the carry."""
    params = parameters() | {"shared": jnp.ones(8)}
    keys = jax.random.split(jax.random.key(0), LAYERS)

    def with_more(scan: Any, params: Any) -> Any:
        def body(carry: Any, x: Any) -> Any:
            (h, n), (p, key, scale) = carry, x
            h, _ = block(h, p)
            h = h * params["shared"][None] + 0.01 * jax.random.normal(key, h.shape) * scale
            return (h, n + 1), (jnp.mean(h**2), n)

        scales = jnp.linspace(0.5, 1.0, LAYERS) * params["shared"][:LAYERS]

        def both(_: Any, h: Any, layers: Any) -> Any:
            (h, n), (sizes, numbers) = scan(body, (h, 0), (layers, keys, scales))
            counted = (n + numbers[-1]).astype(jnp.float32)
            return h + 0.1 * jnp.sum(sizes) * counted, None

        return loss(both, params)

    assert_same(*trained(ao.adamw(1e-2), jax.checkpoint(with_more, static_argnums=0), params))


@pytest.mark.heavy
def test_layers_of_several_stacks_go_together() -> None:
    params = parameters()
    params["layers"], params["scales"] = (
        {n: x for n, x in params["layers"].items() if n != "scale"},
        {"scale": params["layers"]["scale"]},
    )

    def two(scan: Any, params: Any) -> Any:
        def both(_: Any, h: Any, layers: Any) -> Any:
            return scan(lambda h, x: block(h, x[0] | x[1]), h, (layers, params["scales"]))

        return loss(both, params)

    assert_same(*trained(ao.adamw(1e-2), two, params, layers=["layers", "scales"]))


def test_the_loss_returns_more_and_is_called_with_a_batch() -> None:
    params, tx = parameters(), ao.adamw(1e-2)

    def with_aux(params: Any, factor: Any) -> Any:
        value = factor * loss(ao.release.scan, params)
        return value, {"factor": factor, "n": 3}

    state = tx.init(params)
    new, state, (value, aux) = ao.release.step(
        tx, with_aux, state, params, jnp.float32(2.0), layers="layers", has_aux=True
    )
    assert aux == {"factor": 2.0, "n": 3}
    # Op by op, as here, sums of float32 are rounded otherwise on some CPUs.
    np.testing.assert_allclose(value, 2 * loss(jax.lax.scan, params), rtol=1e-6)
    assert state[0].count == 1
    assert new.keys() == params.keys()


def test_outside_of_a_step_scan_and_call_are_jaxs() -> None:
    layers, h = parameters()["layers"], jnp.ones((2, 8))
    np.testing.assert_array_equal(
        ao.release.scan(block, h, layers)[0], jax.lax.scan(block, h, layers)[0]
    )
    assert ao.release.call(lambda p, x, y: p * x + y, 2, 3, 4) == 10
