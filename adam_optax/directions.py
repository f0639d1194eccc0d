"""How the moments become a step: functions `Leaf -> Array`, before learning rate and sign."""

from collections.abc import Callable

from jax import Array

from adam_optax.moments import Leaf
from adam_optax.numerics import Number, is_exact, quotient, root

Direction = Callable[[Leaf], Array]


def ratio(eps: Number = 1e-8, eps_root: Number = 0.0, den: str = "nu") -> Direction:
    """`mu / (sqrt(nu + eps_root) + eps)` of the moments as read (Adam, Algorithm 1).

    Args:
        eps: added to the root.
        eps_root: added under the root.
        den: the moment in the denominator.
    """

    def direction(x: Leaf) -> Array:
        nu = x.hat[den] if is_exact(eps_root) and eps_root == 0 else x.hat[den] + eps_root
        return quotient(x.hat["mu"], root(nu) + eps, least=eps)

    return direction


def over(den: str = "nu", least: Number = 0.0) -> Direction:
    """`mu / nu` of the moments as read, for a `nu >= least` on the gradient's scale (AdaMax)."""
    return lambda x: quotient(x.hat["mu"], x.hat[den], least)
