"""The rules as optax's `scale_by_*`: rescaled gradients, before learning rate and sign.

Parameters are those of the optimiser of the same name in `adam_optax.alias`, where each is
described, and as there all of them take schedules and traced arrays.
"""

from typing import Any

from adam_optax import rules
from adam_optax.decay import Hyper
from adam_optax.transform import Transformation, scale_by


def scale_by_adam(
    b1: Hyper = 0.9,
    b2: Hyper = 0.999,
    eps: Hyper = 1e-8,
    eps_root: Hyper = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
    eps_hat: bool = False,
    nu_dtype: Any = None,
    storage: Any = None,
) -> Transformation:
    """Rescale gradients as `adam` does (Kingma & Ba 2015, Algorithm 1).

    >>> import optax, adam_optax as ao
    >>> tx = optax.chain(ao.scale_by_adam(b2=0.99), optax.scale_by_learning_rate(1e-3))
    """
    rule = rules.adam(b1, b2, eps, eps_root, nesterov, eps_hat)
    return scale_by(rule, storage=storage, mu_dtype=mu_dtype, nu_dtype=nu_dtype)


def scale_by_amsgrad(
    b1: Hyper = 0.9,
    b2: Hyper = 0.999,
    eps: Hyper = 1e-8,
    eps_root: Hyper = 0.0,
    mu_dtype: Any = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
    *,
    nesterov: bool = False,
    raw_max: bool = False,
    eps_hat: bool = False,
    nu_dtype: Any = None,
    storage: Any = None,
) -> Transformation:
    """Rescale gradients as `amsgrad` does (Reddi et al. 2018, Algorithm 2).

    >>> import adam_optax as ao
    >>> tx = ao.scale_by_amsgrad(raw_max=True)
    """
    corrections = bias_correction_mu, bias_correction_nu
    rule = rules.amsgrad(b1, b2, eps, eps_root, *corrections, nesterov, raw_max, eps_hat)
    return scale_by(rule, storage=storage, mu_dtype=mu_dtype, nu_dtype=nu_dtype)


def scale_by_adamax(
    b1: Hyper = 0.9,
    b2: Hyper = 0.999,
    eps: Hyper = 1e-8,
    *,
    nesterov: bool = False,
    mu_dtype: Any = None,
    nu_dtype: Any = None,
    storage: Any = None,
) -> Transformation:
    """Rescale gradients as `adamax` does (Kingma & Ba 2015, Algorithm 2).

    >>> import adam_optax as ao
    >>> tx = ao.scale_by_adamax(b2=0.99)
    """
    rule = rules.adamax(b1, b2, eps, nesterov)
    return scale_by(rule, storage=storage, mu_dtype=mu_dtype, nu_dtype=nu_dtype)
