"""`watch(tx)`: the transformation that records what another one does."""

from typing import Any

import optax

from adam_optax._transform import Transformation
from adam_optax._watch import records
from adam_optax._watch.state import WatchState, noted, start
from adam_optax._watch.tree import Layers


class Watch:
    """Records, inside jit, what any optax transformation does to each layer.

    `watch(tx)` computes the updates of `tx` and changes nothing about them. Every `every` steps,
    from the first on, it records of each layer (leaf of the parameters):

    * `grad_rms`, `param_rms`, `update_rms`, and `update_ratio`, the update's over the parameter's;
    * `signal_to_noise`: the mean of `mu^2 / nu`, 1 where gradients agree and 0 where they cancel;
    * `step_size`: `|update| / |mu|` per weight, as quantiles (`state.QUANTILES`): Adam's
      `α / (√ν̂ + eps)`, one learning rate per weight; `|update| / |gradient|` where there is no mu;
    * `root_nu`: √ν̂ per weight, as quantiles, on the gradient's scale and so on that of `eps`;
    * `eps_share`: of the weights, the share whose denominator is more `eps` than √ν̂;
    * `storage_error`: by how much keeping the moments in their storage once more would change the
      next step, its RMS over the step's; 0 for float32;
    * `nonfinite`: of the gradient's elements, the share that is inf or NaN.

    `mu` and `nu` are as the rule reads them, corrected for their bias. What cannot be known of a
    transformation (`eps` of a stranger's, say) is NaN when read. Means and quantiles of single
    weights, and `update_rms`, are of `samples` weights spread evenly over the layer, the others of
    all. Of layers that are sharded over an automatic mesh, the samples alone are gathered; axes of
    type `Explicit` are not supported.
    """

    def __call__(
        self, tx: Any, *, every: int = 10, samples: int = 1024, keep: int = 128
    ) -> Transformation:
        """A transformation that does what `tx` does and records it.

        Args:
            tx: any optax transformation; the outermost, where gradients come in and steps go out.
            every: record every so many steps.
            samples: of how many weights of a layer at most what is said of single weights.
            keep: how many records are kept; a newer one then replaces the oldest.

        Returns:
            A transformation whose state is a `WatchState` around that of `tx`.

        Raises:
            TypeError: if `tx` is no transformation.
            ValueError: if one of the numbers is not a positive integer.

        >>> import jax.numpy as jnp, adam_optax as ao
        >>> tx = ao.watch(ao.adam(1e-3, eps=1e-2), every=1)
        >>> params = {"w": jnp.ones(4), "b": jnp.ones(2)}
        >>> state = tx.init(params)
        >>> updates, state = tx.update({"w": jnp.ones(4), "b": jnp.full(2, 1e-4)}, state, params)
        >>> ao.watch.read(state)["w"]["eps_share"], ao.watch.read(state)["b"]["eps_share"]
        (array([0.], dtype=float32), array([1.], dtype=float32))
        """
        _check(tx, every=every, samples=samples, keep=keep)
        inner = optax.with_extra_args_support(tx)

        def init(params: Any) -> WatchState:
            return start(inner.init(params), params, keep)

        def update(
            updates: Any, state: WatchState, params: Any = None, **extra_args: Any
        ) -> tuple[Any, WatchState]:
            due = state.count % every == 0
            layers = Layers(state.layers, updates, samples)
            wholes = layers.wholes(due, params)
            held = layers.after(wholes)
            done, inner_state = inner.update(held, state.inner_state, params, **extra_args)
            row = layers.record(due, wholes, tx, inner_state, done)
            return done, noted(state, inner_state, due, row, every)

        return Transformation(init, update)

    read = staticmethod(records.read)
    rows = staticmethod(records.rows)
    plot = staticmethod(records.plot)


watch = Watch()


def _check(tx: Any, **numbers: Any) -> None:
    if not (callable(getattr(tx, "init", None)) and callable(getattr(tx, "update", None))):
        raise TypeError(f"tx must be an optax transformation, not {type(tx).__name__}")
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be an integer from 1, not {value!r}")
