"""What cannot be released is refused, with what to write instead."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest

import adam_optax as ao
from tests.release.model import LAYERS, block, loss, parameters

pytestmark = pytest.mark.quick


def release(tx: Any, how: Callable[..., Any] | None = None, layers: Any = "layers") -> Any:
    """Trace a step, without a compilation."""
    of = how or (lambda params: loss(ao.release.scan, params))
    params = parameters()
    return jax.eval_shape(
        lambda params, state: ao.release.step(tx, of, state, params, layers=layers),
        params,
        jax.eval_shape(tx.init, params),
    )


NEEDS_ALL = {
    "apply_if_finite": lambda: optax.apply_if_finite(ao.adam(1e-3), 3),
    "MultiSteps": lambda: optax.MultiSteps(ao.adam(1e-3), 2).gradient_transformation(),
    "offload": lambda: ao.offload(ao.adam(1e-3)),
    "watch": lambda: ao.watch(ao.adam(1e-3)),
    "zero_nans": lambda: optax.chain(optax.zero_nans(), ao.adam(1e-3)),
    "trust ratio": lambda: optax.chain(ao.scale_by_adam(), optax.scale_by_trust_ratio()),
}


@pytest.mark.parametrize("name", NEEDS_ALL)
def test_a_link_that_may_need_more_than_the_layer_is_named(name: str) -> None:
    named = {"watch": "Watch", "trust ratio": "scale_by_trust_ratio"}
    with (
        jax.numpy_dtype_promotion("standard"),
        pytest.raises(ValueError, match="needs no more than that: leave it out") as info,
    ):
        release(NEEDS_ALL[name]())
    assert named.get(name, name) in str(info.value)


CLIPS: dict[str, tuple[Callable[[], Any], str]] = {
    "clip_by_global_norm": (
        lambda: optax.chain(ao.clip_by_global_norm(1.0), ao.adam(1e-3)),
        r"clip_by_global_norm needs the norm of all gradients: take ao\.clip_by_block_rms\(",
    ),
    "optax's clip_by_global_norm": (
        lambda: optax.chain(optax.clip_by_global_norm(1.0), ao.adam(1e-3)),
        r"clip_by_global_norm needs the norm of all gradients: take ao\.clip_by_block_rms\(",
    ),
    "optax's clip_by_block_rms": (
        lambda: optax.chain(optax.clip_by_block_rms(1.0), ao.adam(1e-3)),
        r"clip_by_block_rms needs to be told what a layer is, .*: take ao\.clip_by_block_rms\(",
    ),
    "zclip": (
        lambda: optax.chain(ao.zclip(), ao.adam(1e-3)),
        r"zclip needs the norm of all gradients: take ao\.rules\.clip_step_by_history, which",
    ),
    "adagc": (
        lambda: optax.chain(ao.adagc(stacked=1), ao.adam(1e-3)),
        r"adagc needs the norm of all gradients, in its warm-up: take ao\.rules\.clip_step_by_hi",
    ),
    "skip_spikes": (
        lambda: ao.skip_spikes(ao.adam(1e-3)),
        r"skip_spikes needs the norm of all gradients: take clipping by layer, or ao\.step\(",
    ),
    "clip_by_block_rms of a stack": (
        lambda: optax.chain(ao.clip_by_block_rms(1.0), ao.adam(1e-3)),
        r"clip_by_block_rms of layers/in/kernel: the step looks at a whole .* with stacked=1",
    ),
}


@pytest.mark.parametrize("name", CLIPS)
def test_a_clip_says_what_clips_layers_in_its_place(name: str) -> None:
    make, message = CLIPS[name]
    with jax.numpy_dtype_promotion("standard"), pytest.raises(ValueError, match=message):
        release(make())


def test_a_sum_over_gradients_in_a_wrapper_is_found() -> None:
    """A wrapper of the user's around an optimiser shows no link, but its program shows the sum."""
    inner = ao.adam(1e-3)

    def update(grads: Any, state: Any, params: Any = None) -> Any:
        norm = optax.tree.norm(grads)
        return inner.update(jax.tree.map(lambda g: g / norm, grads), state, params)

    with pytest.raises(ValueError, match=r"params/embed needs the gradient of params/head"):
        release(optax.GradientTransformation(inner.init, update))


def test_a_link_of_ones_own_is_not_known() -> None:
    mine = optax.stateless(lambda g, p: g)
    with pytest.raises(ValueError, match="cannot tell that stateless needs"):
        release(optax.chain(mine, ao.adam(1e-3)))


@pytest.mark.parametrize(
    "tx",
    [ao.lamb(1e-3), ao.novograd(1e-3), ao.adam(1e-3, storage={"nu": ao.storage.factored(4)})],
    ids=["lamb", "novograd", "factored"],
)
def test_what_looks_at_all_layers_is_told_of_stacked(tx: Any) -> None:
    with pytest.raises(ValueError, match=r"layers.*counts layers, with stacked=1"):
        release(tx)


def test_blocks_along_the_axis_of_layers_are_refused() -> None:
    """The parameter `scale` has no axis but that of the layers."""
    with pytest.raises(ValueError, match=r"layers/scale cannot be released: .* with stacked=1"):
        release(ao.adam(1e-3, storage=ao.storage.int8()))


def test_a_path_that_is_not_there_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"'blocks' matches no path .* begin with embed, head, lay"
    ):
        release(ao.adam(1e-3), layers="blocks")


def use(name: str) -> Callable[[Any], Any]:
    """Return a loss that uses its layers in a wrong way."""

    def twice(scan: Any, h: Any, layers: Any) -> Any:
        return scan(block, scan(block, h, layers)[0], layers)

    def in_a_loop(scan: Any, h: Any, layers: Any) -> Any:
        return jax.lax.scan(lambda h, _: scan(block, h, layers), h, length=2)

    def never(scan: Any, h: Any, layers: Any) -> Any:
        return h, None

    def decayed(scan: Any, h: Any, layers: Any) -> Any:
        extra = sum(jnp.sum(x) for x in jax.tree.leaves(layers) if x.dtype == h.dtype)
        return scan(block, h + extra, layers)

    def in_a_cached_call(scan: Any, h: Any, layers: Any) -> Any:
        one = jax.jit(lambda h, layers: scan(block, h, layers)[0])
        return one(one(h, layers), layers), None

    how = {f.__name__: f for f in (twice, in_a_loop, never, decayed, in_a_cached_call)}[name]
    return lambda params: loss(lambda _, h, layers: how(ao.release.scan, h, layers), params)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("twice", "used 2 times, by custom_vjp_call, custom_vjp_call"),
        ("in_a_loop", "used 1 times, by scan"),
        ("never", "used never"),
        ("decayed", "used 2 times, by reduce_sum, custom_vjp_call"),
        ("in_a_cached_call", "used 2 times"),
    ],
)
def test_layers_are_used_once_by_scan_or_call(name: str, found: str) -> None:
    with pytest.raises(ValueError, match=f"<released layers 'layers'>.* {found}"):
        release(ao.adam(1e-3), use(name))


def test_layers_are_not_taken_apart() -> None:
    with pytest.raises(TypeError, match=r"'layers' are released: hand them over whole, to"):
        release(ao.adam(1e-3), lambda params: jnp.sum(params["layers"]["scale"]))


def test_a_carry_that_changes_is_named() -> None:
    grows = lambda h, p: (jnp.concatenate([h, h]), None)  # noqa: E731
    with pytest.raises(TypeError, match="f must return a carry of the structure and shapes of ini"):
        release(
            ao.adam(1e-3), lambda params: loss(lambda _, h, x: ao.release.scan(grows, h, x), params)
        )


def test_axes_that_differ_are_named() -> None:
    def more(params: Any) -> Any:
        both = lambda _, h, x: ao.release.scan(lambda h, x: (h, None), h, (x, jnp.ones(LAYERS + 1)))  # noqa: E731
        return loss(both, params)

    with pytest.raises(ValueError, match=r"must have one first axis; .*\(4,\), \(5,\)"):
        release(ao.adam(1e-3), more)


def test_integers_are_not_released() -> None:
    tx = ao.adam(ao.by_path({"layers/n": ao.FROZEN, ".*": 1e-3}))
    params = {"layers": {"w": jnp.ones((2, 3)), "n": jnp.arange(2)}}
    scan = lambda p: jnp.sum(ao.release.scan(lambda h, x: (h * x["w"], None), 1.0, p["layers"])[0])  # noqa: E731
    with pytest.raises(TypeError, match="params/layers/n is int32, which has no gradient: keep it"):
        ao.release.step(tx, scan, tx.init(params), params, layers="layers")


def test_a_loss_is_a_scalar() -> None:
    with pytest.raises(TypeError, match="the loss must be a floating scalar, as for"):
        release(
            ao.adam(1e-3),
            lambda params: ao.release.scan(block, params["embed"], params["layers"])[0],
        )
