"""States as PyTorch and Keras lay them out, made by hand of NumPy arrays."""

import types
from typing import Any

import jax.numpy as jnp
import numpy as np

import adam_optax as ao

PARAMS = {"dense": {"kernel": jnp.zeros((2, 3)), "bias": jnp.zeros(3)}}
TORCH: ao.convert.Names = {"fc.weight": ("dense/kernel", (1, 0)), "fc.bias": "dense/bias"}
KERAS: ao.convert.Names = {"net/dense/kernel": "dense/kernel", "net/dense/bias": "dense/bias"}
MEAN = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
"""The mean of the kernel's gradients, in our layout."""
BIAS = np.array([0.1, -0.2, 0.3], np.float32)
COUNT = 7


def torch_entry(mean: Any, step: Any = float(COUNT), **more: Any) -> dict[str, Any]:
    """What PyTorch keeps of one parameter."""
    return {"step": np.float32(step), "exp_avg": mean.copy(), "exp_avg_sq": mean**2, **more}


def state_dict(named: bool = True, **options: Any) -> dict[str, Any]:
    """PyTorch's Adam over a linear layer; options are of its group."""
    group = {"lr": 1e-3, "betas": (0.9, 0.999), "amsgrad": False, "params": [0, 1], **options}
    names = {"param_names": list(TORCH)} if named else {}
    kept = {0: torch_entry(MEAN.T), 1: torch_entry(BIAS)}
    return {"state": kept, "param_groups": [group | names]}


def variable(path: str, value: Any) -> Any:
    """Like one of Keras's variables."""
    return types.SimpleNamespace(path=path, value=np.asarray(value))


def variables(hat: bool = False, product: float | None = None) -> list[Any]:
    """The variables of Keras's Adam, amsgrad or Nadam over a dense layer."""
    kept = [variable("adam/iteration", np.int32(COUNT))]
    kept += [variable("adam/learning_rate", np.float32(1e-3))]
    for name, mean in [("kernel", MEAN), ("bias", BIAS)]:
        kept += [variable(f"adam/net_dense_{name}_momentum", mean)]
        kept += [variable(f"adam/net_dense_{name}_velocity", mean**2)]
    if hat:
        kept += [variable("adam/net_dense_kernel_velocity_hat", MEAN**2)]
        kept += [variable("adam/net_dense_bias_velocity_hat", BIAS**2)]
    if product is not None:
        kept += [variable("variable_4", np.float32(product))]
    return kept


def named(**more: Any) -> dict[str, Any]:
    """The same state as named arrays."""
    kernel = {"mu/dense/kernel": MEAN, "nu/dense/kernel": MEAN**2}
    return {
        "count": np.array(COUNT),
        **kernel,
        "mu/dense/bias": BIAS,
        "nu/dense/bias": BIAS**2,
        **more,
    }
