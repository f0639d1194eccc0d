r"""The optimisers, with optax's names, parameters and state.

All take schedules (`count -> value`) and traced arrays for their numbers, and have in common:

* `mu_dtype`, `nu_dtype`, `storage`: how the moments are kept; float32 if not said, also for
  bfloat16 and float16 parameters (float64 for float64).
* The state is that of optax's chain: `state[0]` holds `count` and the moments.
* Gradients are promoted to float32 before they are squared; updates have the gradient's dtype, or
  the parameter's where that is wider.
* A decay rate given as a Python number acts as that number. Given as a float32 array (by
  `optax.inject_hyperparams`, say) it acts as the rounded one: .999 is then .99900001, and from
  bfloat16 arrays rates above .998 are taken as .99902.
"""

import functools as ft
from typing import Any

from adam_optax import rules
from adam_optax.couplings import Coupling
from adam_optax.decay import Hyper, decoupled
from adam_optax.optimizer import optimizer
from adam_optax.transform import Transformation


def adam(
    learning_rate: Hyper,
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
    r"""Adam (Kingma & Ba 2015, Algorithm 1).

    .. math::
        \mu_t = b_1 \mu_{t-1} + (1-b_1) g_t, \quad \nu_t = b_2 \nu_{t-1} + (1-b_2) |g_t|^2, \\
        u_t = -\alpha \frac{\mu_t / (1-b_1^t)}{\sqrt{\nu_t / (1-b_2^t) + \epsilon_{root}}
        + \epsilon}

    Args:
        learning_rate: the step size alpha; None leaves out the factor and its sign.
        b1: decay rate of the mean of gradients, in [0, 1).
        b2: decay rate of the mean of squared gradients, in [0, 1).
        eps: added to the root, so in units of the gradient.
        eps_root: added under the root; not needed for differentiating through the optimiser.
        mu_dtype: the dtype in which `mu` is kept.
        nesterov: look ahead as NAdam does.
        eps_hat: add `eps` beside the root of the uncorrected nu, as TensorFlow and Keras do: the
            paper's epsilon-hat, :math:`\epsilon / \sqrt{1-b_2^t}` for :math:`\epsilon`.
        nu_dtype: the dtype in which `nu` is kept.
        storage: a format of `adam_optax.storage` for both moments, or a mapping by their names.

    Raises:
        ValueError: if a number is out of range (at construction), or a tree, shape or state does
            not fit (when traced).
        TypeError: if a parameter or gradient is neither floating nor complex.

    >>> import jax.numpy as jnp, optax, adam_optax as ao
    >>> tx = ao.adam(learning_rate=0.1)
    >>> params = {"w": jnp.array([1.0, -2.0])}
    >>> updates, state = tx.update({"w": jnp.array([3.0, -0.5])}, tx.init(params), params)
    >>> optax.apply_updates(params, updates)["w"]
    Array([ 0.9, -1.9], dtype=float32)
    """
    rule = rules.adam(b1, b2, eps, eps_root, nesterov, eps_hat)
    return optimizer(rule, learning_rate, storage=storage, mu_dtype=mu_dtype, nu_dtype=nu_dtype)


def adamw(
    learning_rate: Hyper,
    b1: Hyper = 0.9,
    b2: Hyper = 0.999,
    eps: Hyper = 1e-8,
    eps_root: Hyper = 0.0,
    mu_dtype: Any = None,
    weight_decay: Hyper = 1e-4,
    mask: Any = None,
    *,
    nesterov: bool = False,
    eps_hat: bool = False,
    coupling: Coupling | None = None,
    nu_dtype: Any = None,
    storage: Any = None,
) -> Transformation:
    r"""Adam with decoupled weight decay (Loshchilov & Hutter 2019, Algorithm 2).

    :math:`u_t = -\alpha (d_t + \lambda p_{t-1})` with Adam's direction :math:`d_t`; the decay is
    multiplied by the learning rate, as in optax and PyTorch.

    Args:
        learning_rate: see `adam`.
        b1: see `adam`.
        b2: see `adam`.
        eps: see `adam`.
        eps_root: see `adam`.
        mu_dtype: see `adam`.
        weight_decay: lambda; PyTorch's default is 1e-2.
        mask: which parameters decay: a tree of bools over the parameters or a prefix of it, or a
            function from the parameters to one. None: all.
        nesterov: see `adam`.
        eps_hat: see `adam`.
        coupling: how the decay goes with the learning rate, one of `adam_optax.couplings`; None:
            times the learning rate.
        nu_dtype: see `adam`.
        storage: see `adam`.

    Raises:
        ValueError: as `adam`; also if `update` is called without `params`.
        TypeError: as `adam`; also if `mask` is not made of bools.

    >>> import jax, jax.numpy as jnp, adam_optax as ao
    >>> tx = ao.adamw(1e-3, weight_decay=0.1, mask=lambda p: jax.tree.map(lambda x: x.ndim > 1, p))
    """
    rule = rules.adam(b1, b2, eps, eps_root, nesterov, eps_hat)
    decay = decoupled(weight_decay, mask, coupling)
    return optimizer(
        rule, learning_rate, decay=decay, storage=storage, mu_dtype=mu_dtype, nu_dtype=nu_dtype
    )


nadam = ft.partial(adam, nesterov=True)
nadam.__doc__ = (
    """Adam with Nesterov's look-ahead (Dozat 2016, without its factor b2); see `adam`."""
)

nadamw = ft.partial(adamw, nesterov=True)
nadamw.__doc__ = "Adam with Nesterov's look-ahead and decoupled weight decay; see `adamw`."


def amsgrad(
    learning_rate: Hyper,
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
    weight_decay: Hyper = None,
    mask: Any = None,
    coupling: Coupling | None = None,
    nu_dtype: Any = None,
    storage: Any = None,
) -> Transformation:
    r"""Adam whose second moment never falls (Reddi et al. 2018, Algorithm 2).

    Three forms differ in where the bias of nu is corrected:

    * optax's, the default: :math:`\max_s \nu_s / (1-b_2^s)`;
    * PyTorch's, TensorFlow's and Keras's, `raw_max=True`: :math:`(\max_s \nu_s) / (1-b_2^t)`;
    * the paper's, `bias_correction_mu=bias_correction_nu=False`: :math:`\max_s \nu_s`.

    Args:
        learning_rate: see `adam`.
        b1: see `adam`.
        b2: see `adam`.
        eps: see `adam`.
        eps_root: see `adam`.
        mu_dtype: see `adam`.
        bias_correction_mu: whether the reading of mu is corrected.
        bias_correction_nu: whether that of nu is.
        nesterov: see `adam`.
        raw_max: take the maximum over the uncorrected nu, and correct it afterwards.
        eps_hat: see `adam`.
        weight_decay: see `adamw`; None: none.
        mask: see `adamw`.
        coupling: see `adamw`.
        nu_dtype: the dtype in which `nu` and `nu_max` are kept.
        storage: see `adam`; the moments are `mu`, `nu` and `nu_max`.

    Raises:
        ValueError: as `adam`.
        TypeError: as `adam`.

    >>> import adam_optax as ao
    >>> tx = ao.amsgrad(1e-3, raw_max=True)  # PyTorch's Adam(amsgrad=True)
    """
    corrections = bias_correction_mu, bias_correction_nu
    rule = rules.amsgrad(b1, b2, eps, eps_root, *corrections, nesterov, raw_max, eps_hat)
    decay = decoupled(weight_decay, mask, coupling)
    return optimizer(
        rule, learning_rate, decay=decay, storage=storage, mu_dtype=mu_dtype, nu_dtype=nu_dtype
    )


def adamax(
    learning_rate: Hyper,
    b1: Hyper = 0.9,
    b2: Hyper = 0.999,
    eps: Hyper = 1e-8,
    *,
    nesterov: bool = False,
    eps_outside: bool = False,
    mu_dtype: Any = None,
    nu_dtype: Any = None,
    storage: Any = None,
) -> Transformation:
    r"""Adam on the infinity norm (Kingma & Ba 2015, Algorithm 2).

    .. math::
        \nu_t = \max(b_2 \nu_{t-1}, |g_t| + \epsilon), \quad
        u_t = -\alpha \frac{\mu_t / (1-b_1^t)}{\nu_t}

    Args:
        learning_rate: see `adam`.
        b1: see `adam`.
        b2: decay rate of the weighted maximum, in [0, 1).
        eps: added to the gradient's magnitude, as in optax and PyTorch.
        nesterov: see `adam`.
        eps_outside: add `eps` to nu where it divides instead, as Keras and Lasagne do.
        mu_dtype: see `adam`.
        nu_dtype: see `adam`.
        storage: see `adam`.

    Raises:
        ValueError: as `adam`.
        TypeError: as `adam`.

    >>> import adam_optax as ao
    >>> tx = ao.adamax(2e-3)
    """
    rule = rules.adamax(b1, b2, eps, nesterov, eps_outside)
    return optimizer(rule, learning_rate, storage=storage, mu_dtype=mu_dtype, nu_dtype=nu_dtype)


def adamaxw(
    learning_rate: Hyper,
    b1: Hyper = 0.9,
    b2: Hyper = 0.999,
    eps: Hyper = 1e-8,
    weight_decay: Hyper = 1e-4,
    mask: Any = None,
    *,
    nesterov: bool = False,
    eps_outside: bool = False,
    mu_dtype: Any = None,
    coupling: Coupling | None = None,
    nu_dtype: Any = None,
    storage: Any = None,
) -> Transformation:
    """AdaMax with decoupled weight decay; see `adamax` and `adamw`.

    >>> import adam_optax as ao
    >>> tx = ao.adamaxw(2e-3, weight_decay=0.01)
    """
    rule = rules.adamax(b1, b2, eps, nesterov, eps_outside)
    decay = decoupled(weight_decay, mask, coupling)
    return optimizer(
        rule, learning_rate, decay=decay, storage=storage, mu_dtype=mu_dtype, nu_dtype=nu_dtype
    )
