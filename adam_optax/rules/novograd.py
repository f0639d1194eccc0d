"""Define NovoGrad (Ginsburg et al. 2019)."""

import dataclasses

import jax.numpy as jnp
from jax import Array

from adam_optax._core.numerics import Number, is_python_number, safe_divide, update_ema
from adam_optax.directions import denominator
from adam_optax.moments import Leaf, ema, square, trace
from adam_optax.rules.base import Rule, variant


@variant(decay_rates=("b1", "b2"), non_negative=("eps", "eps_root", "weight_decay"))
def novograd(
    b1: Number = 0.9,
    b2: Number = 0.25,
    eps: Number = 1e-6,
    eps_root: Number = 0.0,
    nesterov: bool = False,
    weight_decay: Number = 0.0,
) -> Rule:
    """Build NovoGrad's rule: gradients over the norm of their layer, and decay in the average.

    Take NovoGrad for speech and vision models with large batches: it needs half of Adam's memory,
    as its second moment is one number for each parameter array.

    Moments: `nu`, the mean squared norm of the gradient, one number for a parameter array; and
    `mu`, the decaying sum of normalised gradients.

    Step: `μ = b1 μ + g / (√(ν + eps_root) + eps) + λ p, ν of Σ|g|²`,
    with `ν = b2 ν + (1-b2) Σ|g|²`, at first `Σ|g|²`, for the gradient `g`, the parameter `p` and
    the weight decay λ. The paper's defaults are b1 = 0.95 and b2 = 0.98; these are optax's.

    Args:
        b1: decay rate of the sum `mu` of normalised gradients, in [0, 1); default 0.9.
        b2: decay rate of `nu`, the squared norm of a parameter's gradient, in [0, 1); default 0.25.
        eps: added to the root in the denominator, in units of the gradient; default 1e-6.
        eps_root: added to the second moment under the root, in units of the squared gradient;
            default 0.0.
        nesterov: whether the first moment is read one step ahead; default False.
        weight_decay: strength of a weight decay that no learning rate and no mask changes, as of
            `scale_by_novograd`; default 0.0.

    Returns:
        The rule, for `adam_optax.optimizer` or `adam_optax.scale_by`. It applies the weight decay
        of the optimiser itself.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> import adam_optax as ao
        >>> tx = ao.optimizer(ao.rules.novograd(b1=0.95, b2=0.98), 1e-2, decay=ao.Decay(1e-3))

    References:
        Ginsburg et al., [Stochastic Gradient Methods with Layer-wise Adaptive Moments for Training
        of Deep Networks](https://arxiv.org/abs/1905.11286), 2019, Algorithm 1.
    """

    def update(m: Array, x: Array, t: Array) -> Array:
        return jnp.where(t > 1, update_ema(b2, m, x), x)  # it begins at the first, not at 0

    def decayed_grad(x: Leaf) -> Array:
        g = safe_divide(x.g, denominator(x.current["nu"], eps, eps_root), least=eps)
        # Without decay no parameter is read, since none need be there. The optimiser's decay is an
        # array unless there is none.
        g = g if isinstance(x.weight_decay, float) else g + x.weight_decay * x.p
        no_decay = is_python_number(weight_decay) and weight_decay == 0
        return g if no_decay else g + weight_decay * x.p

    nu = ema(b2, lambda x: jnp.sum(square(x)), signed=False)
    nu = dataclasses.replace(nu, update=update, over="all", uses_age=False)
    mu = trace(decayed_grad, b1, nesterov=nesterov)
    return Rule({"nu": nu, "mu": mu}, lambda x: x.hat["mu"], handles=("weight_decay",))
