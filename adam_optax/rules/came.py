"""Define CAME (Luo et al. 2023), whose two squared moments `storage.factored` keeps small."""

from jax import Array

from adam_optax._core.numerics import Number, abs_sq, safe_divide, safe_sqrt
from adam_optax.directions import clip_by_rms
from adam_optax.moments import Leaf, ema
from adam_optax.rules.base import Rule, variant


@variant(
    decay_rates=("b1", "b2", "b3"),
    non_negative=("eps", "eps_res", "clipping_threshold"),
    optional=("clipping_threshold",),
    reads_rank=True,
)
def came(
    b1: Number = 0.9,
    b2: Number = 0.999,
    b3: Number = 0.9999,
    eps: Number = 1e-30,
    eps_res: Number = 1e-16,
    clipping_threshold: Number | None = 1.0,
) -> Rule:
    """Build CAME's rule: Adafactor with a mean of its steps, over how far a step is from the mean.

    Take CAME for Adafactor's memory with a first moment, where Adafactor's factors are too rough:
    steps that vary from one to the next are trusted less.

    Moments: `nu`, the mean squared gradient; `mu`, the mean of the steps; and `res`, the mean
    squared distance of a step from `mu`. Keep `nu` and `res` as `adam_optax.storage.factored`.

    Step: `μ / √ρ, μ = b1 μ + (1-b1) u, u = d / max(1, rms(d) / threshold), d = g / √ν`,
    with `ν = b2 ν + (1-b2) (|g|² + eps)` and `ρ = b3 ρ + (1-b3) (|u - μ|² + eps_res)` (`res`), both
    as they are stored, for the gradient `g`. Parameters of one axis take `μ`. Nothing is corrected
    for its start.

    Args:
        b1: decay rate of the mean `mu` of steps, in [0, 1); default 0.9.
        b2: decay rate of the second moment `nu`, in [0, 1); default 0.999.
        b3: decay rate of the mean squared distance `res`, in [0, 1); default 0.9999.
        eps: added to the squared gradients, in units of the squared gradient; default 1e-30.
        eps_res: added to the squared distances, which are in units of a step; default 1e-16.
        clipping_threshold: the largest root mean square of a step before the mean; None stands for
            no bound; default 1.0.

    Returns:
        The rule, for `adam_optax.optimizer` or `adam_optax.scale_by`.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> import adam_optax as ao
        >>> small = ao.storage.factored()
        >>> tx = ao.optimizer(ao.rules.came(), 2e-4, storage={"nu": small, "res": small})

    References:
        Luo et al., [CAME: Confidence-guided Adaptive Memory Efficient
        Optimization](https://arxiv.org/abs/2307.02047), ACL 2023, Algorithm 2.
    """

    def normalized_grad(x: Leaf) -> Array:
        step = safe_divide(x.g, safe_sqrt(x.current["nu"]), 0.0)
        return step if clipping_threshold is None else clip_by_rms(clipping_threshold)(step, x)

    def direction(x: Leaf) -> Array:
        if x.g.ndim < 2:
            return x.current["mu"]
        return safe_divide(x.current["mu"], safe_sqrt(x.current["res"]), 0.0)

    plain = {"signed": False, "corrected": False}
    moments = {
        "nu": ema(b2, lambda x: abs_sq(x.g) + eps, **plain),
        "mu": ema(b1, normalized_grad, corrected=False),
        "res": ema(b3, lambda x: abs_sq(normalized_grad(x) - x.current["mu"]) + eps_res, **plain),
    }
    return Rule(moments, direction)
