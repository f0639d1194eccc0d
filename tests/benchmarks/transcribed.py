"""The peers' formulas in NumPy, one group at a time, as their sources have them."""

from typing import Any

import ml_dtypes
import numpy as np

F = np.float32


def flashoptim(x: Any, signed: bool, scales: Any) -> tuple[Any, Any]:
    """Codes and numbers of a group of 32 (`_triton_adam_kernel`)."""
    y = x if signed else np.sqrt(x)
    scale = np.maximum(np.abs(y).max(), F(1e-12))
    z = y / scale
    t = 2 * z / (1 + np.abs(z)) if signed else z
    code = np.floor(t * F(127 if signed else 255) + F(0.5)).astype(np.int8 if signed else np.uint8)
    s = scale.astype(scales).astype(F)
    t = code.astype(F) / F(127 if signed else 255)
    back = t / (2 - np.abs(t)) * s if signed else (t * s) ** 2
    return code, back


def coat(x: Any, dtype: Any) -> tuple[Any, Any]:
    """Codes and numbers of a group of 128 (`fp8_adamw_cuda_expand_kernel`)."""
    top = F(ml_dtypes.finfo(dtype).max)
    high, low = np.abs(x).max() + F(1e-20), np.abs(x).min() + F(1e-20)
    middle = np.sqrt(high * low, dtype=np.float64)  # in float32 the product would be zero
    power = np.floor(np.log2(top * top / 2) / np.log2(np.float64(high) / low) * 8) / 8
    scale = (high / middle) ** power / top
    code = (np.sign(x) * (np.abs(x) / middle) ** power / scale).astype(F).astype(dtype)
    return code, np.sign(x) * (np.abs(code.astype(F)) * scale) ** (1 / power) * middle


def solo(x: Any, bits: int, u: Any) -> tuple[Any, Any]:
    """Codes and numbers of a group of 128, not negative (`scale_tensor`, `quantize_with_alpha`)."""
    last = 2**bits - 1
    scale = np.maximum(x.max(), F(1e-12))
    base = (np.quantile(x, 0.1) / scale) ** (1 / last)
    with np.errstate(divide="ignore"):
        code = np.clip(np.round(np.log2(x / scale) / np.log2(base) + u - 0.5), 0, last)
    return code.astype(np.uint8), base**code * scale


def heavyball(x: Any, u: Any) -> tuple[Any, Any]:
    """Corrections and numbers (`_ULPState`)."""
    narrow = x.astype(ml_dtypes.bfloat16)
    exponent = (narrow.view(np.uint16).astype(np.int32) & 0x7FFF) >> 7
    half = np.exp2(np.where(exponent == 0, 1 - 127 - 7, exponent - 127 - 7) - 1.0)
    rest = np.clip((x - narrow.astype(np.float64)) / half, -1, 1) * 127
    code = np.floor(rest + u).astype(np.int8)
    return code, narrow.astype(np.float64) + code / 127 * half
