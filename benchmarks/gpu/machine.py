"""Find the facts of a machine that a table of times needs beside it."""

import contextlib
import datetime
import importlib.metadata
import os
import pathlib
import platform
import subprocess

import jax

from benchmarks.gpu.case import Setup

PACKAGES = ("jax", "jaxlib", "optax", "flax", "numpy", "torch", "torchao", "bitsandbytes")


def facts(setup: Setup) -> dict[str, str]:
    """Return the facts: device, driver, versions, date."""
    device = jax.devices()[0]
    query = "nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"
    found = {
        "size": "miniature: a trial, whose times say nothing" if setup.miniature else "full",
        "device": f"{len(jax.devices())} {device.device_kind} ({device.platform})",
        "device's memory": _memory(device),
        "driver": _said(*query),
        "platform": " ".join(getattr(device.client, "platform_version", "unknown").split()),
        "host": f"{os.cpu_count()} cores, {platform.platform()}",
        "Python": platform.python_version(),
    }
    found |= {name: _version(name) for name in PACKAGES}
    root = str(pathlib.Path(__file__).parents[2])
    found["commit"] = _said("git", "-C", root, "rev-parse", "HEAD")
    return found | {"date": datetime.datetime.now(datetime.UTC).date().isoformat()}


def _memory(device: jax.Device) -> str:
    limit = (device.memory_stats() or {}).get("bytes_limit")
    return "unknown" if limit is None else f"{limit / 2**30:.1f} GiB for JAX"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _said(*command: str) -> str:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        made = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        return "; ".join(made.stdout.split("\n")).strip("; ") or "unknown"
    return "unknown"
