"""Round to bfloat16 and float16 in float64 NumPy, and dither in Python's integers."""

import math
import zlib
from typing import Any

import ml_dtypes
import numpy as np

FORMATS = {"bfloat16": (8, -126, ml_dtypes.bfloat16), "float16": (11, -14, np.float16)}
"""Significant bits, the least normal exponent, and NumPy's dtype."""


def unit(x: float, dtype: str) -> float:
    """Return the spacing of a format's numbers at x."""
    digits, least, _ = FORMATS[dtype]
    exponent = math.frexp(x)[1] - 1 if x else least
    return 2.0 ** (max(exponent, least) - digits + 1)


def rounded(x: float, share: float, dtype: str) -> float:
    """Return `floor(|x| / unit + share) unit`, with the sign of x, but no more than is finite."""
    if not math.isfinite(x):
        return x
    ulp = unit(x, dtype)
    value = min(math.floor(abs(x) / ulp + share) * ulp, largest(dtype))
    return float(np.asarray(math.copysign(value, x)).astype(FORMATS[dtype][2]))


def largest(dtype: str) -> float:
    """Return the largest finite number of a format."""
    return float(ml_dtypes.finfo(FORMATS[dtype][2]).max)


def share(dither: int, dtype: str) -> float:
    """Return what a dither of 32 bits adds, in units of the format: the bits that float32 has."""
    drop = 24 - FORMATS[dtype][0]
    return (dither >> (32 - drop)) / 2.0**drop


def mixed(x: int) -> int:
    """Return MurmurHash3's finaliser of x."""
    x = ((x ^ (x >> 16)) * 0x85EBCA6B) % 2**32
    x = ((x ^ (x >> 13)) * 0xC2B2AE35) % 2**32
    return x ^ (x >> 16)


def key(seed: int, path: str) -> int:
    """Return the key that a seed and a leaf's path give the hash."""
    return (seed * 0x9E3779B1 + zlib.crc32(path.encode())) % 2**32


def dither(place: int, count: int, seed: int = 0, path: str = "") -> int:
    """Return the dither of the element at a row-major place of a leaf, after `count` steps."""
    return mixed(place % 2**32 ^ mixed((mixed(key(seed, path)) + count * 0x9E3779B1) % 2**32))


def float32_sum(p: Any, u: Any) -> Any:
    """Return `p + u` rounded to float32, with subnormal numbers flushed to zero."""
    with np.errstate(all="ignore"):
        return _flushed(_flushed(p) + _flushed(u))


def _flushed(x: Any) -> Any:
    wide = np.asarray(x, np.float32)
    return np.where(np.abs(wide) < 2.0**-126, np.copysign(np.float32(0), wide), wide)
