"""Programs written with packages that take any optax transformation."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from tests.programs.program import EQUINOX, FLAX, PICKLE, Program, X, Y

ROUNDED = 2e-5
"""Of the losses: optax's float32 `1 - b2^t` is off by up to 6e-5 at first, and a step by half."""


def numpyro_svi(lib: Any) -> Any:
    """Fit a Bayesian regression by NumPyro's SVI, whose optimiser is wrapped by `optax_to_numpyro`.

    The rate decays, and gradients are clipped.
    """
    import numpyro
    import numpyro.distributions as dist
    from numpyro.infer import SVI, Trace_ELBO
    from numpyro.infer.autoguide import AutoNormal
    from numpyro.optim import optax_to_numpyro

    def model(x: Any, y: Any) -> None:
        w = numpyro.sample("w", dist.Normal(jnp.zeros(6), 1.0).to_event(1))
        noise = numpyro.sample("noise", dist.HalfNormal(1.0))
        numpyro.sample("y", dist.Normal(x @ w, noise), obs=y)

    schedule = lib.exponential_decay(1e-2, 10, 0.9)
    tx = lib.chain(lib.clip_by_global_norm(10.0), lib.adam(schedule))
    svi = SVI(model, AutoNormal(model), optax_to_numpyro(tx), Trace_ELBO())
    state = svi.init(jax.random.key(0), X, Y[:, 0])
    update = jax.jit(lambda state: svi.stable_update(state, X, Y[:, 0]))
    return state, lambda state, t: update(state)


def optimistix_minimise(lib: Any) -> Any:
    """Minimise by Optimistix's `OptaxMinimiser`, one step at a time as its manual shows."""
    import optimistix as optx

    def loss(y: Any, args: Any) -> Any:
        return jnp.mean((jnp.tanh(X @ y["w"] + y["b"]) - Y) ** 2), None

    solver = optx.OptaxMinimiser(lib.nadamw(3e-2, weight_decay=1e-3), rtol=1e-6, atol=1e-6)
    y = {"w": jnp.zeros((6, 2)), "b": jnp.zeros(2)}
    struct = jax.ShapeDtypeStruct((), jnp.float32)
    state = solver.init(loss, y, None, {}, struct, None, frozenset())

    @eqx.filter_jit
    def step(carry: Any) -> Any:
        y, state, _ = solver.step(loss, carry[0], None, {}, carry[1], frozenset())
        return (y, state), state.f

    return (y, state), lambda carry, t: step(carry)


def equinox_mlp(lib: Any) -> Any:
    """Train an `eqx.nn.MLP`: what is no floating array is None in the gradients and the state."""
    model = eqx.nn.MLP(6, 2, 8, 2, activation=jax.nn.tanh, key=jax.random.key(1))
    tx = lib.chain(lib.clip_by_global_norm(1.0), lib.adamw(lib.cosine_decay_schedule(1e-2, 40)))
    state = tx.init(eqx.filter(model, eqx.is_inexact_array))

    @eqx.filter_jit
    def step(carry: Any) -> Any:
        model, state = carry
        loss = lambda model: jnp.mean((jax.vmap(model)(X) - Y) ** 2)  # noqa: E731
        value, grads = eqx.filter_value_and_grad(loss)(model)
        updates, state = tx.update(grads, state, eqx.filter(model, eqx.is_inexact_array))
        return (eqx.apply_updates(model, updates), state), value

    return (model, state), lambda carry, t: step(carry)


def haiku_autoencoder(lib: Any) -> Any:
    """Train an autoencoder of Haiku's modules; the optimiser is not shown the parameters."""
    import haiku as hk

    def loss(x: Any) -> Any:
        code = hk.nets.MLP([8, 3], name="encoder")(x)
        return jnp.mean((hk.nets.MLP([8, 6], name="decoder")(code) - x) ** 2)

    net = hk.without_apply_rng(hk.transform(loss))
    params, tx = net.init(jax.random.key(2), X), lib.adam(1e-2)

    @jax.jit
    def step(params: Any, state: Any) -> Any:
        value, grads = jax.value_and_grad(net.apply)(params, X)
        updates, state = tx.update(grads, state)
        return (lib.apply_updates(params, updates), state), value

    return (params, tx.init(params)), lambda carry, t: step(*carry)


PACKAGES = {
    "numpyro": Program(numpyro_svi, PICKLE, ROUNDED),
    "optimistix": Program(optimistix_minimise, EQUINOX, ROUNDED),
    "equinox": Program(equinox_mlp, EQUINOX, ROUNDED),
    "haiku": Program(haiku_autoencoder, FLAX, ROUNDED),
}
