"""Define AdamH (Wen et al. 2026): Adam on the sphere of a parameter's first norm."""

import dataclasses

import jax.numpy as jnp
from jax import Array

from adam_optax._core.numerics import Number
from adam_optax.directions import hyperball
from adam_optax.moments import Leaf, first_norm
from adam_optax.rules.adam import adam
from adam_optax.rules.base import Rule, variant


@variant(decay_rates=("b1", "b2"), non_negative=("eps", "eps_root"))
def adamh(
    b1: Number = 0.9,
    b2: Number = 0.95,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    nesterov: bool = False,
    fixed_norm: bool = True,
) -> Rule:
    """Build AdamH's rule: Adam that turns a parameter, and leaves the parameter's norm as it was.

    Take AdamH (Adam-Hyperball) for the matrices of normalised networks, whose output does not
    depend on a matrix's size, in the place of AdamW with weight decay: a learning rate is then an
    angle, and stays right for other widths and depths. Three norms for each parameter are a second
    and a third pass.

    Moments: `mu`, the mean gradient; `nu`, the mean squared gradient; and `radius`, the norm of the
    parameter before the first step, one number for a parameter array.

    Step: `(p - R unit(p - η R unit(d))) / η, d = μ̂ / (√(ν̂ + eps_root) + eps) + λ p`,
    with Adam's μ̂ and ν̂ (see `adam`), the learning rate η, the weight decay λ, 0 in the paper, the
    parameter `p`, the radius `R` and `unit(x) = x / |x|`, so that the new parameter is
    `R unit(p - η R unit(d))`. A parameter that is 0 at first has no direction: its step is `d`.

    HeavyBall's HyperBallAdamW keeps R, too, but no mean gradient: it is `b1=0`. Levanter takes the
    norm anew at each step instead of R, so that roundings add up, and one norm for each row of a
    parameter of three or more axes, as if its first were layers: say that with `stacked`.

    Args:
        b1: decay rate of the first moment `mu`, in [0, 1); default 0.9.
        b2: decay rate of the second moment `nu`, in [0, 1); default 0.95.
        eps: added to the root in the denominator, in units of the gradient; default 1e-8.
        eps_root: added to the second moment under the root, in units of the squared gradient;
            default 0.0.
        nesterov: whether the first moment is read one step ahead (Dozat 2016); default False.
        fixed_norm: whether the norm is fixed; False: AdamW. By `by_path`, for vectors and
            embeddings; default True.

    Returns:
        The rule, for `adam_optax.optimizer`. It applies the learning rate itself.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> import adam_optax as ao
        >>> matrices = ao.by_path(lambda path, p: p.ndim > 1)
        >>> tx = ao.optimizer(ao.rules.adamh(fixed_norm=matrices), 1e-2)

    References:
        Wen et al., [Fantastic Pretraining Optimizers and Where to Find Them II: Hyperball
        Optimization](https://arxiv.org/abs/2606.16899), 2026.
    """
    rule, radius = adam(b1, b2, eps, eps_root, nesterov), first_norm()
    if not fixed_norm:  # the state is the same for all, since the choice may be by path
        unseen = dataclasses.replace(radius, observe=lambda x: jnp.zeros_like(x.t))
        return Rule({**rule.moments, "radius": unseen}, rule.direction)

    def direction(x: Leaf) -> Array:
        return x.learning_rate * rule.direction(x)

    moments = {**rule.moments, "radius": radius}
    return Rule(moments, direction, postprocess=hyperball(), handles=("learning_rate",))
