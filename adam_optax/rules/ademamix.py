"""Define AdEMAMix (Pagliardini et al. 2025) and its simplified form (Morwani et al. 2025)."""

from jax import Array

from adam_optax._core.numerics import Number
from adam_optax.directions import ratio
from adam_optax.moments import Leaf, ema, square, trace
from adam_optax.rules.base import Rule, variant


@variant(decay_rates=("b1", "b2", "b3"), non_negative=("eps", "eps_root"))
def ademamix(
    b1: Number = 0.9,
    b2: Number = 0.999,
    b3: Number = 0.9999,
    alpha: Number = 5.0,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    nesterov: bool = False,
) -> Rule:
    """Build AdEMAMix's rule: Adam with a fast and a slow mean of the gradients.

    Take AdEMAMix for long runs on much data, such as language models: gradients of ten thousand
    steps ago still help, if they stand beside a fast mean.

    Moments: `mu`, the fast mean of the gradients; `mu_slow`, the slow mean; and `nu`, the mean
    squared gradient.

    Step: `(μ̂ + alpha μ_slow) / (√(ν̂ + eps_root) + eps)`,
    with `μ = b1 μ + (1-b1) g`, `μ_slow = b3 μ_slow + (1-b3) g`, `ν = b2 ν + (1-b2) |g|²`,
    `μ̂ = μ / (1 - b1^t)` and `ν̂ = ν / (1 - b2^t)` for the gradient `g` and the step `t`, 1 at the
    first. The slow mean is not corrected.

    Args:
        b1: decay rate of the fast mean `mu`, in [0, 1); default 0.9.
        b2: decay rate of the second moment `nu`, in [0, 1); default 0.999.
        b3: decay rate of the slow mean `mu_slow`, in [0, 1), to be warmed up by a schedule in long
            runs; default 0.9999.
        alpha: weight of the slow mean; default 5.0.
        eps: added to the root in the denominator, in units of the gradient; default 1e-8.
        eps_root: added to the second moment under the root, in units of the squared gradient;
            default 0.0.
        nesterov: whether the fast mean is read one step ahead (Dozat 2016); default False.

    Returns:
        The rule, for `adam_optax.optimizer` or `adam_optax.scale_by`.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> import optax, adam_optax as ao
        >>> alpha = optax.linear_schedule(0.0, 5.0, 100_000)
        >>> tx = ao.optimizer(ao.rules.ademamix(alpha=alpha), 1e-3)

    References:
        Pagliardini et al., [The AdEMAMix Optimizer: Better, Faster,
        Older](https://arxiv.org/abs/2409.03137), ICLR 2025, Algorithm 1.
    """

    def mixed_mean(x: Leaf) -> Array:
        return x.hat["mu"] + alpha * x.hat["mu_slow"]

    moments = {
        "mu": ema(b1, nesterov=nesterov),
        "mu_slow": ema(b3, corrected=False),
        "nu": ema(b2, square, signed=False),
    }
    return Rule(moments, ratio(eps, eps_root, num=mixed_mean))


@variant(decay_rates=("b1", "b2"), non_negative=("eps", "eps_root"))
def simplified_ademamix(
    b1: Number = 0.99,
    b2: Number = 0.95,
    alpha: Number = 0.0,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
) -> Rule:
    """Build Simplified AdEMAMix's rule: a sum of gradients and the newest one.

    Take Simplified AdEMAMix where AdEMAMix is right but there is memory for two moments only. Its
    sum is some `1 / (1 - b1)` times Adam's mean: the learning rate must be smaller by as much.

    Moments: `mu`, the decaying sum of gradients, and `nu`, the mean squared gradient.

    Step: `(μ + alpha g) / (√(ν̂ + eps_root) + eps), μ = b1 μ + g`,
    with `ν = b2 ν + (1-b2) |g|²` and `ν̂ = ν / (1 - b2^t)` for the gradient `g` and the step `t`, 1
    at the first.

    Args:
        b1: decay rate of the sum `mu` of gradients, in [0, 1); default 0.99.
        b2: decay rate of the second moment `nu`, in [0, 1); default 0.95.
        alpha: weight of the newest gradient; default 0.0.
        eps: added to the root in the denominator, in units of the gradient; default 1e-8.
        eps_root: added to the second moment under the root, in units of the squared gradient;
            default 0.0.

    Returns:
        The rule, for `adam_optax.optimizer` or `adam_optax.scale_by`.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> import adam_optax as ao
        >>> tx = ao.optimizer(ao.rules.simplified_ademamix(alpha=100.0), 1e-5)

    References:
        Morwani et al., [Connections between Schedule-Free Optimizers, AdEMAMix, and Accelerated SGD
        Variants](https://arxiv.org/abs/2502.02431), 2025.
    """
    moments = {"mu": trace(b=b1), "nu": ema(b2, square, signed=False)}
    return Rule(moments, ratio(eps, eps_root, num=lambda x: x.current["mu"] + alpha * x.g))
