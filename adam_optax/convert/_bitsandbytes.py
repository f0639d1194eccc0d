"""From the 8-bit state of bitsandbytes to PyTorch's layout, without importing either."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from adam_optax.convert._arrays import to_numpy
from adam_optax.convert._errors import ConversionError, listed
from adam_optax.convert._torch_layout import parts

_WRAPPED = "__bnb_optimizer_quant_state__"
_SLOTS = {"1": "exp_avg", "2": "exp_avg_sq"}
BLOCKS = (256, 2048)
"""How many elements share an `absmax`: since version 0.44, and before."""


def unquantised(codes: Any, absmax: Any, qmap: Any) -> Any:
    """The float32 array that bitsandbytes' codes stand for, bit for bit as it would read them.

    Args:
        codes: uint8, `state1` or `state2`.
        absmax: float32, one for each run of 256 codes of the flattened array (2048 before 0.44).
        qmap: the 256 numbers that the codes stand for, in units of `absmax`.

    Raises:
        ConversionError: if there are not as many blocks as either version would make.
    """
    fits = [b for b in BLOCKS if -(-codes.size // b) == absmax.size]
    if not fits or qmap.size != 256 or codes.dtype != np.uint8:
        raise ConversionError(
            f"codes {codes.dtype}{list(codes.shape)}, {absmax.size} absmax and {qmap.size} numbers "
            "of a code book are not blocks of 256 or 2048 in bitsandbytes' 8-bit format"
        )
    unit = np.repeat(absmax.ravel(), fits[0])[: codes.size].reshape(codes.shape)
    return qmap.ravel()[codes] * unit


def bitsandbytes_to_torch(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """A `state_dict` of bitsandbytes' Adam or AdamW as PyTorch's own, for `from_torch`.

    Moments of 8 bits come as float32; those of small parameters, which bitsandbytes keeps in
    float32, as they are. Where nu was rounded to zero and mu was not, the next gradient of zero
    would make a step of mu over eps: there, nu is half the smallest number that it could have been.

    Args:
        state_dict: `optimizer.state_dict()`, or of a checkpoint the optimizer's part.

    Raises:
        ConversionError: if it is of another optimizer, or is laid out otherwise.

    >>> import numpy as np, adam_optax as ao
    >>> kept = {"step": 7, "state1": np.ones(3, np.float32), "state2": np.ones(3, np.float32)}
    >>> state_dict = {"state": {0: kept}, "param_groups": [{"params": [0]}]}
    >>> sorted(ao.convert.bitsandbytes_to_torch(state_dict)["state"][0])
    ['exp_avg', 'exp_avg_sq', 'step']
    """
    groups, kept = parts(state_dict)
    return {
        "state": {i: _plain(i, entry) for i, entry in kept.items()},
        "param_groups": [dict(group) for group in groups],
    }


def _plain(i: Any, entry: Any) -> dict[str, Any]:
    entry = {**entry, **entry.get(_WRAPPED, {})} if isinstance(entry, Mapping) else {}
    slots = {n for n in entry if n.startswith("state")}
    if slots != {"state1", "state2"} or "step" not in entry:
        raise ConversionError(
            f"what is kept of parameter {i} is {listed(map(str, entry)) or 'nothing'}, not step, "
            "state1 and state2 as bitsandbytes' Adam and AdamW have them"
        )
    moments = {name: _moment(i, entry, n) for n, name in _SLOTS.items()}
    mu, nu = moments.values()
    if mu.shape != nu.shape:
        raise ConversionError(
            f"state1 and state2 of parameter {i} have shapes {mu.shape} and {nu.shape}; the second "
            "mean of AdEMAMix cannot be converted"
        )
    if "qmap2" in entry:
        moments["exp_avg_sq"] = np.where((nu == 0) & (mu != 0), _half(i, entry), nu)
    return {"step": entry["step"], **moments}


def _moment(i: Any, entry: Mapping[str, Any], n: str) -> Any:
    codes = to_numpy(entry[f"state{n}"], f"state{n} of parameter {i}")
    if codes.dtype.kind == "f":
        return codes
    if missing := [k for k in (f"absmax{n}", f"qmap{n}") if k not in entry]:
        raise ConversionError(f"{listed(missing)} of parameter {i} is not there to read its codes")
    return unquantised(codes, *(to_numpy(entry[k + n], k + n) for k in ("absmax", "qmap")))


def _half(i: Any, entry: Mapping[str, Any]) -> Any:
    """Half of the smallest positive number of each element's block."""
    codes = to_numpy(entry["state2"], f"state2 of parameter {i}")
    absmax, qmap = (to_numpy(entry[n], n) for n in ("absmax2", "qmap2"))
    least = np.flatnonzero(qmap == qmap[qmap > 0].min())[0]
    return unquantised(np.full_like(codes, least), absmax, qmap) / 2
