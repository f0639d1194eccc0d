"""Check that `watch` changes nothing, records what float64 says, and costs no copy."""

import csv
import functools as ft
import io
import os
import pathlib
import subprocess
import sys
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao
from adam_optax._watch.metrics import strides
from tests.support.family import ONE_EACH
from tests.support.formats import FORMATS

PARAMS: Any = {"layer": {"w": np.linspace(-1, 1, 60).reshape(12, 5)}, "b": np.full(5, 0.3)}
STEPS = 25


def params() -> Any:
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), PARAMS)


def grads(step: int) -> Any:
    """Draw the gradients of a step, from 1; those of `b` all agree."""
    rng = np.random.default_rng(step)
    noisy = lambda x: rng.standard_normal(x.shape).astype(np.float32)  # noqa: E731
    return {"layer": {"w": noisy(PARAMS["layer"]["w"])}, "b": np.full(5, 0.1, np.float32)}


def run(tx: Any, steps: int = STEPS, given: Any = None) -> tuple[Any, Any]:
    """Return the last updates and the state."""
    state, p = tx.init(params()), params()
    step = jax.jit(tx.update)
    for t in range(1, steps + 1):
        updates, state = step(given or grads(t), state, p)
    return updates, state


@pytest.mark.quick
def test_the_updates_and_the_state_are_those_of_what_is_watched() -> None:
    tx = optax.chain(ao.clip_by_global_norm(1.0), ao.adamw(1e-2, mu_dtype="bfloat16"))
    watched = run(ao.watch(tx, every=2))
    alone = run(tx)
    chex.assert_trees_all_equal(alone, (watched[0], watched[1].inner_state))


def oracle(b1: float, b2: float, eps: float, rate: float, steps: int) -> dict[str, Any]:
    """Compute what Adam (Kingma & Ba 2015, Algorithm 1) does to `w` at the last step."""
    mu = nu = np.zeros((12, 5))
    for t in range(1, steps + 1):
        g = grads(t)["layer"]["w"].astype(np.float64)
        mu, nu = b1 * mu + (1 - b1) * g, b2 * nu + (1 - b2) * g**2
    mu, nu = mu / (1 - b1**steps), nu / (1 - b2**steps)
    update = rate * mu / (np.sqrt(nu) + eps)
    rms = lambda x: np.sqrt((x**2).mean())  # noqa: E731
    return {
        "grad_rms": rms(g),
        "clipped_rms": rms(g),
        "param_rms": rms(PARAMS["layer"]["w"]),
        "update_rms": rms(update),
        "update_ratio": rms(update) / rms(PARAMS["layer"]["w"]),
        "signal_to_noise": (mu**2 / nu).mean(),
        "step_size": np.quantile(rate / (np.sqrt(nu) + eps), ao.watch.QUANTILES),
        "root_nu": np.quantile(np.sqrt(nu), ao.watch.QUANTILES),
        "eps_share": (eps > np.sqrt(nu)).mean(),
        "storage_error": 0.0,
        "nonfinite": 0.0,
    }


@pytest.mark.quick
@pytest.mark.parametrize("made", [ao.adam, optax.adam, "injected"], ids=["ours", "optax", "inject"])
def test_a_record_is_what_float64_says(made: Any) -> None:
    if made == "injected":
        made = optax.inject_hyperparams(optax.adam)
    # eps among the roots of nu, so that it rules some of the weights and not the others
    tx = ao.watch(made(1e-2, b1=0.8, b2=0.99, eps=1.0), every=6)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        found = ao.watch.read(run(tx)[1])["layer/w"]
    assert found["step"].tolist() == [1, 7, 13, 19, 25]
    expected = oracle(0.8, 0.99, 1.0, 1e-2, 25)
    assert 0 < expected["eps_share"] < 1
    for name, value in expected.items():
        # float32 and twenty-five steps; arrays injected are rounded to float32 before
        np.testing.assert_allclose(found[name][-1], value, rtol=3e-5, atol=1e-8, err_msg=name)


def test_signal_to_noise_is_one_where_gradients_agree() -> None:
    found = ao.watch.read(run(ao.watch(ao.adam(1e-2)))[1])
    np.testing.assert_allclose(found["b"]["signal_to_noise"], 1, rtol=1e-5)  # float32
    assert found["layer/w"]["signal_to_noise"][-1] < 0.3


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        # The table of steps beside float32's: over many steps .12, .016 and .11; of one, less
        ("pair", 1e-2, 0.12),
        pytest.param("stochastic", 1e-4, 0.014, marks=pytest.mark.heavy),
        pytest.param("int8", 1e-3, 0.1, marks=pytest.mark.heavy),
    ],
)
def test_the_storage_error_is_that_of_the_format(name: str, least: float, most: float) -> None:
    tx = ao.watch(ao.adam(1e-2, storage=getattr(ao.storage, name)()))
    assert least < ao.watch.read(run(tx)[1])["layer/w"]["storage_error"][-1] < most


@pytest.mark.quick
def test_gradients_that_are_not_finite_are_counted() -> None:
    bad = grads(1) | {"b": np.array([np.nan, 1, np.inf, 1e30, 1], np.float32)}
    found = ao.watch.read(run(ao.watch(ao.adam(1e-2)), 1, bad)[1])
    assert found["b"]["nonfinite"] == pytest.approx(0.4)  # not 1e30, whose square is not finite
    assert found["layer/w"]["nonfinite"] == 0


@pytest.mark.quick
def test_in_a_scan_the_newest_records_are_kept() -> None:
    tx = ao.watch(ao.adam(1e-2), every=3, keep=4)

    @jax.jit
    @chex.assert_max_traces(n=1)  # type: ignore[untyped-decorator]
    def train(state: Any) -> Any:
        step = lambda state, _: (tx.update(params(), state, params())[1], None)  # noqa: E731
        return jax.lax.scan(step, state, None, length=STEPS)[0]

    state = train(train(tx.init(params())))
    assert ao.watch.read(state)["b"]["step"].tolist() == [40, 43, 46, 49]


def test_under_vmap_each_has_its_own_records() -> None:
    tx = ao.watch(ao.adam(1e-2))
    states = jax.vmap(lambda _: tx.init(params()))(jnp.arange(2))
    many = jax.tree.map(lambda g: jnp.stack([g, 2 * g]), grads(1))
    _, states = jax.jit(jax.vmap(lambda g, s: tx.update(g, s, params())))(many, states)
    with pytest.raises(ValueError, match=r"state of jax.vmap; read one of them: .*x\[0\]"):
        ao.watch.read(states)
    one, two = (ao.watch.read(jax.tree.map(lambda x, i=i: x[i], states))["b"] for i in (0, 1))
    np.testing.assert_allclose(2 * one["grad_rms"], two["grad_rms"], rtol=1e-6)  # float32


def test_strangers_without_moments_and_leaves_without_gradients() -> None:
    tx = ao.watch(optax.identity(), every=1)
    state = tx.init(params())
    _, state = jax.jit(tx.update)({"layer": params()["layer"], "b": None}, state, params())
    found = ao.watch.read(state)
    assert list(found) == ["layer/w"]
    np.testing.assert_allclose(found["layer/w"]["step_size"], 1, rtol=1e-6)  # float32
    assert np.isnan(found["layer/w"]["root_nu"]).all()
    assert np.isnan(found["layer/w"]["eps_share"]).all()


SCALARS: dict[str, Any] = {
    **{member.name: member.ours for member in ONE_EACH},
    **{f"adam in {name}": ft.partial(ao.adam, 1e-2, storage=FORMATS[name]) for name in FORMATS},
    "adafactor": ft.partial(ao.adafactor, 1e-2),
    **{f"optax.{n}": ft.partial(getattr(optax, n), 1e-2) for n in ("adam", "rmsprop", "novograd")},
}
"""Optimisers by name, as functions without arguments."""
QUICK = ("adam in pair()", "optax.rmsprop")


@pytest.mark.matrix(keep=1)
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.quick] if n in QUICK else []) for n in SCALARS]
)
def test_a_scalar_parameter_is_recorded_as_one_of_one_element(name: str) -> None:
    def record(shape: tuple[int, ...]) -> Any:
        tx = ao.watch(SCALARS[name](), every=1)
        p, g = ({"p": jnp.full(shape, x), "empty": jnp.zeros((0, 2))} for x in (0.5, 0.25))
        state, step = tx.init(p), jax.jit(tx.update)
        for _ in range(2):
            _, state = step(g, state, p)
        return ao.watch.read(state)

    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        scalar, one = record(()), record((1,))
    assert list(scalar) == ["p"]
    for metric, values in one["p"].items():  # XLA may round the last bit otherwise: float32's 6e-8
        np.testing.assert_allclose(scalar["p"][metric], values, rtol=1e-6, err_msg=metric)


def test_groups_of_which_it_cannot_be_told_apart_are_read_as_they_are_kept() -> None:
    groups = {"one": ao.adam(1e-2, eps=1e3), "two": ao.adam(1e-2, eps=1e-8)}
    tx = optax.partition(groups, {"layer": {"w": "one"}, "b": "two"})
    found = ao.watch.read(run(ao.watch(tx))[1])
    assert np.isnan(found["b"]["eps_share"]).all()
    np.testing.assert_allclose(found["layer/w"]["update_rms"][-1], 2e-6, rtol=0.9)  # eps of its own


def test_optax_tools_map_over_the_state() -> None:
    tx = ao.watch(ao.adam(1e-2))
    _, state = run(tx)
    mapped = optax.tree.map_params(tx, lambda m: 0 * m, state)
    assert not optax.tree.get(mapped, "mu")["b"].any()
    np.testing.assert_array_equal(mapped.table, state.table)


@pytest.mark.quick
def test_layers_are_read_in_the_order_of_their_numbers() -> None:
    """JAX sorts keys as text: a map of a deep network had the last layer among the first."""
    kinds = {"kernel": jnp.ones(1), "bias": jnp.ones(1)}
    deep = {f"Dense_{i}": dict(kinds) for i in range(12)} | {"9": jnp.ones(1)}
    params = (deep, [jnp.ones(1)] * 11)
    tx = ao.watch(ao.adam(1e-3))
    _, state = tx.update(params, tx.init(params), params)
    names = [f"0/Dense_{i}/{kind}" for i in range(12) for kind in ("bias", "kernel")]
    assert list(ao.watch.read(state)) == ["0/9", *names, *(f"1/{i}" for i in range(11))]


def test_rows_go_into_a_file() -> None:
    _, state = run(ao.watch(ao.adam(1e-2)))
    file = io.StringIO()
    csv.writer(file).writerows(ao.watch.rows(state, after=1))
    rows = list(csv.reader(io.StringIO(file.getvalue())))
    assert {row[0] for row in rows} == {"11", "21"}
    assert ["b", "step_size_p50"] in [row[1:3] for row in rows]
    found = ao.watch.read(state)["b"]["update_rms"]
    assert [float(v) for _, layer, name, v in rows if (layer, name) == ("b", "update_rms")] == (
        found[1:].tolist()
    )


def test_a_large_layer_is_sampled_evenly() -> None:
    assert strides((12, 5), 1024) == (1, 1)
    assert strides((4096, 8192), 1024) == (128, 256)
    assert strides((7, 100_003), 1024) == (1, 1024)
    tx = ao.watch(ao.adam(1e-2, eps=0.5), samples=256)
    big = jnp.asarray(np.random.default_rng(0).standard_normal((300, 70)), jnp.float32)
    _, state = jax.jit(tx.update)(big, tx.init(big), big)
    found = ao.watch.read(state)["parameter"]
    # 150 to 256 samples: five standard deviations of a share around erf(0.5 / sqrt 2)
    assert found["eps_share"][0] == pytest.approx(0.383, abs=5 * np.sqrt(0.383 * 0.617 / 150))
    np.testing.assert_allclose(found["grad_rms"], np.sqrt(np.mean(np.square(big))), rtol=1e-5)


def test_donated_parameters_are_not_copied() -> None:
    tx = ao.watch(ao.adam(1e-2))
    p = {"a": jnp.ones((512, 512)), "b": jnp.ones((512, 512))}

    def step(p: Any, state: Any, g: Any) -> Any:
        updates, state = tx.update(g, state, p)
        return optax.apply_updates(p, updates), state

    compiled = jax.jit(step, donate_argnums=(0, 1)).lower(p, tx.init(p), p).compile()
    analysis = compiled.memory_analysis()
    assert analysis is not None
    # The direction, of which the samples are taken, is stored; a copy would be as much again.
    assert analysis.temp_size_in_bytes < 1.5 * 2 * 512 * 512 * 4


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"tx": 3}, TypeError, "tx must be an optax transformation, not int"),
        ({"every": 0}, ValueError, "every must be an integer from 1, not 0"),
        ({"samples": 1.5}, ValueError, "samples must be an integer from 1, not 1.5"),
        ({"keep": True}, ValueError, "keep must be an integer from 1, not True"),
    ],
)
def test_arguments_are_checked(arguments: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        ao.watch(**{"tx": ao.adam(1e-3), **arguments})


def test_a_state_without_records_says_how_to_make_one() -> None:
    with pytest.raises(ValueError, match=r"expected one state of adam_optax\.watch, found 0; make"):
        ao.watch.read(ao.adam(1e-3).init(params()))
    with pytest.raises(ValueError, match="no record to draw"):
        ao.watch.plot(ao.watch(ao.adam(1e-3)).init(params()))


SHARDED = """
import jax, numpy as np, re
import adam_optax as ao
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
jax.config.update("jax_debug_nans", True)
mesh = jax.make_mesh((4,), ("x",), axis_types=(AxisType.Auto,))
tx = ao.watch(ao.adamw(1e-3, storage=ao.storage.pair()))
one = [jax.random.normal(jax.random.key(i), (256, 64)) for i in (0, 1)]
four = jax.device_put(one, NamedSharding(mesh, P(None, "x")))
step = lambda p, g: jax.jit(tx.update)(g, tx.init(p), p)[1]
a, b = (ao.watch.read(step(*both))["parameter"] for both in (one, four))
for name in a:  # sums in another order
    np.testing.assert_allclose(a[name], b[name], rtol=1e-4, err_msg=name)
text = jax.jit(tx.update).lower(four[1], tx.init(four[0]), four[0]).compile().as_text()
gathered = re.findall(r"= \\w+\\[([\\d,]*)\\]\\S* all-gather\\(", text)
assert gathered and set(gathered) == {"32,32"}, gathered  # the samples alone
"""


@pytest.mark.heavy
def test_over_devices_the_records_are_the_same_and_samples_alone_are_gathered() -> None:
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    root = pathlib.Path(__file__).parents[2]
    subprocess.run(
        [sys.executable, "-c", SHARDED], env={**os.environ, **flags}, cwd=root, check=True
    )


def test_a_watched_optimiser_says_what_it_is() -> None:
    text = repr(ao.watch(ao.scale_by(ao.rules.adam())))
    assert text.startswith("watch(tx=scale_by(rule=Rule adam(")
    assert repr(ao.watch) == "adam_optax.watch"


def test_quantiles_are_found_where_the_documentation_says() -> None:
    assert ao.watch.QUANTILES == (0.05, 0.25, 0.5, 0.75, 0.95)
    names = {name for _, _, name, _ in ao.watch.rows(run(ao.watch(ao.adam(1e-2)), 1)[1])}
    assert {f"root_nu_p{100 * q:.0f}" for q in ao.watch.QUANTILES} <= names


@pytest.mark.heavy
def test_many_layers_are_a_map_and_few_are_lines() -> None:
    many = {f"w{i:02}": jnp.ones(3) for i in range(12)}
    tx = ao.watch(ao.adam(1e-2))
    _, state = tx.update(many, tx.init(many), many)
    figure: Any = ao.watch.plot(state)
    assert figure.get_suptitle() == "12 layers, the first at the top of each map"
    few: Any = ao.watch.plot(run(ao.watch(ao.adam(1e-2)), 1)[1])
    legend = few.subfigs[0].legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["b", "layer/w"]


def test_without_matplotlib_the_figure_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ValueError, match=r"the figure needs the lab extra: pip install 'adam-opt"):
        ao.watch.plot(run(ao.watch(ao.adam(1e-2)), 1)[1])


@pytest.mark.quick
def test_a_beta_on_a_schedule_is_read_as_the_step_reads_it() -> None:
    falling = lambda n: 0.9 + 0.09 * jnp.minimum(jnp.asarray(n, float) / 10, 1)  # noqa: E731
    tx = ao.watch(ao.adam(1e-2, b2=falling, eps=0.0))
    ones = {"w": jnp.ones(8)}
    state = tx.init(ones)
    for _ in range(20):
        _, state = tx.update(ones, state, ones)
    found = ao.watch.read(state)["w"]
    # Under a constant gradient of one both readings are one: 2.2 without the exact weight.
    np.testing.assert_allclose(found["signal_to_noise"], 1.0, rtol=1e-5)  # float32's averages
