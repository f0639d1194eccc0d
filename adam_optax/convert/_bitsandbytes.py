"""Convert the 8-bit state of bitsandbytes to PyTorch's layout, without importing either."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adam_optax.convert._checks import ConversionError, join_names, to_numpy
from adam_optax.convert._torch_groups import ParamId, split_state_dict

_QUANT_STATE = "__bnb_optimizer_quant_state__"
_MOMENTS = {"1": "exp_avg", "2": "exp_avg_sq"}
_BLOCK_SIZES = (256, 2048)
"""How many elements share an `absmax`: since version 0.44, and before."""


def dequantize_blockwise(
    codes: NDArray[np.uint8], absmax: NDArray[np.float32], qmap: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Decode the 8-bit codes of bitsandbytes, bit for bit as bitsandbytes decodes them.

    Element i is `qmap[codes[i]] * absmax[i // block]`, where i counts the flattened array. Use it
    to look at single moments; `bitsandbytes_to_torch` converts a whole `state_dict`.

    Args:
        codes: uint8 of any shape, `state1` or `state2`.
        absmax: float32, one for each block of 256 codes of the flattened array (2048 codes before
            version 0.44).
        qmap: the code book: 256 numbers in units of `absmax`.

    Returns:
        float32 of the shape of `codes`.

    Raises:
        ConversionError: if the number of blocks is not that of either version.

    >>> import numpy as np, adam_optax as ao
    >>> codes, qmap = np.array([0, 255, 255], np.uint8), np.linspace(-1, 1, 256, dtype=np.float32)
    >>> ao.convert.dequantize_blockwise(codes, np.float32([0.5]), qmap).tolist()
    [-0.5, 0.5, 0.5]

    Reference: Dettmers et al. (2022), "8-bit Optimizers via Block-wise Quantization",
    https://arxiv.org/abs/2110.02861.
    """
    sizes = [size for size in _BLOCK_SIZES if -(-codes.size // size) == absmax.size]
    if not sizes or qmap.size != 256 or codes.dtype != np.uint8:
        raise ConversionError(
            f"codes {codes.dtype}{list(codes.shape)}, {absmax.size} absmax and {qmap.size} numbers "
            "of a code book are not blocks of 256 or 2048 in bitsandbytes' 8-bit format"
        )
    scale = np.repeat(absmax.ravel(), sizes[0])[: codes.size].reshape(codes.shape)
    return qmap.ravel()[codes] * scale


unquantised = dequantize_blockwise
"""The former name of `dequantize_blockwise`, kept for programs that use it."""


def bitsandbytes_to_torch(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a `state_dict` of bitsandbytes' Adam or AdamW to PyTorch's layout, for `from_torch`.

    Use it to continue a run under `bnb.optim.Adam8bit`, `AdamW8bit` or their paged kin. Moments
    of 8 bits become float32; the moments of small parameters, which bitsandbytes stores in float32,
    stay as they are. Where nu was rounded to zero and mu was not, the next gradient of zero would
    make a step of mu / eps: there, nu becomes half of the smallest number that its block can
    express.

    Args:
        state_dict: `optimizer.state_dict()`; of a checkpoint, the optimizer's part.

    Returns:
        A new `state_dict` with the entries of `torch.optim.Adam`, as NumPy arrays.

    Raises:
        ConversionError: if the `state_dict` is of another optimizer, or is laid out otherwise.

    >>> import numpy as np, adam_optax as ao
    >>> entry = {"step": 7, "state1": np.ones(3, np.float32), "state2": np.ones(3, np.float32)}
    >>> state_dict = {"state": {0: entry}, "param_groups": [{"params": [0]}]}
    >>> sorted(ao.convert.bitsandbytes_to_torch(state_dict)["state"][0])
    ['exp_avg', 'exp_avg_sq', 'step']
    """
    groups, states = split_state_dict(state_dict)
    return {
        "state": {i: _convert_param_state(i, state) for i, state in states.items()},
        "param_groups": [dict(group) for group in groups],
    }


def _convert_param_state(i: ParamId, state: object) -> dict[str, Any]:
    """Convert the state of one parameter to the entries of PyTorch's Adam."""
    entries = {**state, **state.get(_QUANT_STATE, {})} if isinstance(state, Mapping) else {}
    moment_entries = {name for name in entries if name.startswith("state")}
    if moment_entries != {"state1", "state2"} or "step" not in entries:
        raise ConversionError(
            f"what is kept of parameter {i} is {join_names(map(str, entries)) or 'nothing'}, not "
            "step, state1 and state2 as bitsandbytes' Adam and AdamW have them"
        )
    moments = {name: _decode_moment(i, entries, number) for number, name in _MOMENTS.items()}
    mu, nu = moments.values()
    if mu.shape != nu.shape:
        raise ConversionError(
            f"state1 and state2 of parameter {i} have shapes {mu.shape} and {nu.shape}; the second "
            "mean of AdEMAMix cannot be converted"
        )
    if "qmap2" in entries:
        is_lost = (nu == 0) & (mu != 0)
        moments["exp_avg_sq"] = np.where(is_lost, _half_of_smallest_nu(i, entries), nu)
    return {"step": entries["step"], **moments}


def _decode_moment(i: ParamId, entries: Mapping[str, Any], number: str) -> NDArray[Any]:
    """Decode the first or second moment of a parameter; return one of floats as it is."""
    codes = to_numpy(entries[f"state{number}"], f"state{number} of parameter {i}")
    if codes.dtype.kind == "f":
        return codes
    if missing := [name for name in (f"absmax{number}", f"qmap{number}") if name not in entries]:
        raise ConversionError(
            f"{join_names(missing)} of parameter {i} is not there to read its codes"
        )
    absmax, qmap = (to_numpy(entries[name + number], name + number) for name in ("absmax", "qmap"))
    return dequantize_blockwise(codes, absmax, qmap)


def _half_of_smallest_nu(i: ParamId, entries: Mapping[str, Any]) -> NDArray[np.float32]:
    """Return, for each element, half of the smallest positive nu that its block can express."""
    codes = to_numpy(entries["state2"], f"state2 of parameter {i}")
    absmax, qmap = (to_numpy(entries[name], name) for name in ("absmax2", "qmap2"))
    smallest = np.flatnonzero(qmap == qmap[qmap > 0].min())[0]
    return dequantize_blockwise(np.full_like(codes, smallest), absmax, qmap) * np.float32(0.5)
