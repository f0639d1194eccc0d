"""Minimise with Adafactor as big_vision and timm write it."""

from __future__ import annotations  # so that `help` shows the names of types

from collections.abc import Mapping
from typing import Unpack

import jax.numpy as jnp

from adam_optax import rules
from adam_optax._alias._build import (
    Transformation,
    decay_from_arguments,
    known,
    optimizer,
    optimizer_function,
)
from adam_optax._alias.options import StorageOptions
from adam_optax._core.types import DTypeLike, Mask, ScalarOrSchedule
from adam_optax.couplings import Coupling
from adam_optax.storage import factored


@optimizer_function
def capped_adafactor(
    learning_rate: ScalarOrSchedule | None,
    min_dim_size_to_factor: int = 32,
    decay_rate: ScalarOrSchedule = 0.8,
    decay_offset: int = 0,
    b2_cap: ScalarOrSchedule = 0.999,
    clipping_threshold: ScalarOrSchedule | None = None,
    momentum: ScalarOrSchedule | None = 0.9,
    dtype_momentum: DTypeLike | None = jnp.bfloat16,
    eps: ScalarOrSchedule = 1e-30,
    *,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Mask = None,
    coupling: Coupling | None = None,
    **options: Unpack[StorageOptions],
) -> Transformation:
    """Minimise with Adafactor as big_vision writes it: with a bound on the second moment's rate.

    Take this form to go on with a run of big_vision's `scale_by_adafactor` or of timm's
    `AdafactorBigVision`; else take `ao.adafactor`. The bound lets the second moment forget, where
    Adafactor's averages over ever more steps; the mean of the steps is taken before the learning
    rate, and steps do not depend on the parameter's size.

    Step: `momentum μ + (1-momentum) d / max(1, rms(d) / threshold), d = g / √ν`, times
    `-learning_rate`, with `ν = row col / mean(row)`, both averages of `|g|² + eps` that fade by
    `min(b2_cap, 1 - t^-decay_rate)`, and the mean `μ` of the steps before, for the gradient `g`
    and the step `t`, 1 at the first. With decay, `λ p` is added to the step.

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other rate below; None leaves out the factor and its sign.
        min_dim_size_to_factor: least length of the two longest axes of a parameter for its second
            moment to be factored.
        decay_rate: the second moment's decay rate is `1 - t^-decay_rate` at step `t`.
        decay_offset: the step from which `t` counts.
        b2_cap: the largest decay rate of the second moment, in [0, 1).
        clipping_threshold: the largest root mean square of `d`; None: no bound.
        momentum: decay rate of an average `mu` of the steps, in [0, 1); None: no average.
        dtype_momentum: dtype in which `mu` is kept, if there is one; None: as `storage` says, or
            float32 (float64 for float64 parameters).
        eps: added to the squared gradients, in their units.
        weight_decay: strength λ of the decoupled weight decay; None: no decay.
        mask: which parameters decay: a tree of bools, a prefix of such a tree, or a function from
            the parameters to one; None: all parameters.
        coupling: how the decay goes with the learning rate, one of `adam_optax.couplings`; None:
            times the rate, as timm's. big_vision's `wd` follows the schedule alone:
            `couplings.relative(peak)`.
        **options: `storage`, how the moments are kept that are not factored, and `stacked`, which
            axes are layers; see `ao.MomentOptions`.

    Returns:
        The optimiser; `state[0]` holds `count` and the moments `nu`, as `nu_row` and `nu_col` where
        it is factored, and `mu` with momentum.

    Raises:
        ValueError: if a number is out of range, if `storage` says how `nu` is kept, or if `mask` or
            `coupling` is given without `weight_decay`.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.conventions.capped_adafactor(0.1)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.010

    References:
        Zhai et al., [Scaling Vision Transformers](https://arxiv.org/abs/2106.04560), CVPR 2022,
        section 3.4.
        Shazeer & Stern, [Adafactor: Adaptive Learning Rates with Sublinear Memory
        Cost](https://arxiv.org/abs/1804.04235), ICML 2018, Algorithm 4.
    """
    given = known(capped_adafactor, options).get("storage")
    given = {} if given is None else given
    if not isinstance(given, Mapping) or "nu" in given:
        raise ValueError(
            "nu is factored where its axes are long enough; name other moments in storage, as in "
            "storage={'mu': adam_optax.storage.pair()}"
        )
    return optimizer(
        rules.capped_adafactor(decay_rate, decay_offset, b2_cap, clipping_threshold, momentum, eps),
        learning_rate,
        decay=decay_from_arguments(weight_decay, mask, coupling),
        storage={"nu": factored(min_dim_size_to_factor), **given},
        stacked=options.get("stacked"),
        mu_dtype=None if momentum is None else dtype_momentum,
        name="capped_adafactor",
    )
