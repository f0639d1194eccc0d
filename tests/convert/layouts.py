"""Build states by hand, of NumPy arrays, as PyTorch and Keras lay them out."""

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
    """Build the state of one parameter as PyTorch has it."""
    return {"step": np.float32(step), "exp_avg": mean.copy(), "exp_avg_sq": mean**2, **more}


def state_dict(named: bool = True, **options: Any) -> dict[str, Any]:
    """Build the `state_dict` of PyTorch's Adam over a linear layer, with options of its group."""
    group = {"lr": 1e-3, "betas": (0.9, 0.999), "amsgrad": False, "params": [0, 1], **options}
    group = {n: value for n, value in group.items() if value is not None}
    names = {"param_names": list(TORCH)} if named else {}
    states = {0: torch_entry(MEAN.T), 1: torch_entry(BIAS)}
    return {"state": states, "param_groups": [group | names]}


def variable(path: str, value: Any) -> Any:
    """Build an object like one of Keras's variables."""
    return types.SimpleNamespace(path=path, value=np.asarray(value))


def variables(hat: bool = False, product: float | None = None) -> list[Any]:
    """Build the variables of Keras's Adam, of amsgrad or of Nadam, over a dense layer."""
    found = [variable("adam/iteration", np.int32(COUNT))]
    found += [variable("adam/learning_rate", np.float32(1e-3))]
    for name, mean in [("kernel", MEAN), ("bias", BIAS)]:
        found += [variable(f"adam/net_dense_{name}_momentum", mean)]
        found += [variable(f"adam/net_dense_{name}_velocity", mean**2)]
    if hat:
        found += [variable("adam/net_dense_kernel_velocity_hat", MEAN**2)]
        found += [variable("adam/net_dense_bias_velocity_hat", BIAS**2)]
    if product is not None:
        found += [variable("variable_4", np.float32(product))]
    return found


def named(**more: Any) -> dict[str, Any]:
    """Build the named arrays of the state that `state_dict` and `variables` hold."""
    kernel = {"mu/dense/kernel": MEAN, "nu/dense/kernel": MEAN**2}
    return {
        "count": np.array(COUNT),
        **kernel,
        "mu/dense/bias": BIAS,
        "nu/dense/bias": BIAS**2,
        **more,
    }
