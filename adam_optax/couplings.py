r"""Choose how decoupled weight decay goes with the learning rate.

The decay term of a step is :math:`\lambda \alpha^k / \alpha_{max} \cdot p`. A `Coupling` says what
`k` and the peak are, and whether the term acts only where the step already shrinks the parameter.
The engine applies it (`adam_optax/_engine/leaf.py`).
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Coupling:
    r"""Describe the decay term :math:`\lambda \alpha^{power} / peak \cdot p`.

    Attributes:
        power: how often the learning rate is a factor: 0, 1 or 2.
        peak: the largest learning rate of the schedule, which divides, or 1.
        cautious: whether the term acts only where `step * p >= 0`.
    """

    power: int = 1
    peak: float = 1.0
    cautious: bool = False

    def __post_init__(self) -> None:
        if self.power not in (0, 1, 2):
            raise ValueError(f"power must be 0, 1 or 2, not {self.power!r}")
        if isinstance(self.peak, bool) or not isinstance(self.peak, int | float):
            raise TypeError(f"peak must be a Python number, not {type(self.peak).__name__}")
        if not 0 < self.peak < float("inf"):
            raise ValueError(f"peak must be positive and finite, not {self.peak}")


RATE = Coupling()
"""Decay times the learning rate (Loshchilov & Hutter 2019, Algorithm 2): optax's and PyTorch's."""

INDEPENDENT = Coupling(power=0)
"""Weight decay as it is: Chainer's and MXNet's. No schedule slows the decay down."""


def relative(peak: float) -> Coupling:
    r"""Multiply by :math:`\alpha / \alpha_{max}`: follow the schedule, not the choice of its peak.

    Args:
        peak: the largest learning rate of the schedule.

    Raises:
        ValueError: if it is not positive and finite.

    >>> import optax, adam_optax as ao
    >>> rate = optax.cosine_decay_schedule(1e-3, 10_000)
    >>> tx = ao.adamw(rate, weight_decay=1e-4, coupling=ao.couplings.relative(1e-3))
    """
    return Coupling(peak=peak)


def corrected(peak: float) -> Coupling:
    r"""Multiply by :math:`\alpha^2 / \alpha_{max}`: AdamC (Defazio 2025, Algorithm 1).

    For the weights of normalised layers, whose norm then settles at the same value all along the
    schedule; let `mask` say which they are.

    Args:
        peak: the largest learning rate of the schedule.

    Raises:
        ValueError: if it is not positive and finite.

    >>> import optax, adam_optax as ao
    >>> rate = optax.cosine_decay_schedule(1e-3, 10_000)
    >>> tx = ao.adamw(rate, weight_decay=0.1, coupling=ao.couplings.corrected(1e-3))
    """
    return Coupling(power=2, peak=peak)


def cautious(coupling: Coupling = RATE) -> Coupling:
    """Decay only where the step already shrinks the parameter, `step * p >= 0` (Chen et al. 2025).

    The step is the rule's, before its finish. Nothing of the loss's descent is undone by decay.

    Args:
        coupling: the coupling where the decay acts.

    >>> import adam_optax as ao
    >>> tx = ao.adamw(1e-3, weight_decay=0.1, coupling=ao.couplings.cautious())
    """
    return dataclasses.replace(coupling, cautious=True)
