"""Find the facts of a machine and of a run that a table of times needs beside it."""

import contextlib
import datetime
import hashlib
import importlib.metadata
import importlib.util
import os
import pathlib
import platform
import subprocess

import jax

from benchmarks.gpu.case import Setup
from benchmarks.gpu.results import NOT_INSTALLED

PACKAGES = ("jax", "jaxlib", "optax", "flax", "numpy", "torch", "torchao", "bitsandbytes")
ROOT = pathlib.Path(__file__).parents[2]
UNKNOWN = "unknown"
PLUGINS = "jax_cuda13_plugin", "jax_cuda12_plugin"
VARIABLES = ("JAX_", "XLA_", "CUDA_VISIBLE_DEVICES", "NVIDIA_TF32_OVERRIDE")
"""With what the names of environment variables begin that change what is measured."""


def facts(setup: Setup) -> dict[str, str]:
    """Return the facts: command, device, driver, versions, sources, text, date."""
    device = jax.devices()[0]
    found = {
        "command": setup.command,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "size": "miniature: a trial, whose times say nothing" if setup.miniature else "full",
        "device": f"{len(jax.devices())} {device.device_kind} ({device.platform})",
        "device's memory": _memory(device),
        "driver": asked("driver_version"),
        "power limit": asked("power.limit"),
        "highest clocks": asked("clocks.max.sm,clocks.max.memory"),
        "platform": " ".join(getattr(device.client, "platform_version", UNKNOWN).split()),
        "host": f"{os.cpu_count()} cores, {platform.platform()}",
        "environment": _environment(),
        "Python": platform.python_version(),
    }
    found |= {name: _version(name) for name in PACKAGES}
    found["commit"] = _said(
        "git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40"
    )
    found["sources"] = _sources()
    return found | {"text": _text(setup)}


def no_gpu() -> str:
    """Return what is known of why JAX sees no GPU, in parentheses; empty if it sees one."""
    try:
        if jax.default_backend() != "cpu":
            return ""
        why = ""
    except (AssertionError, RuntimeError) as error:  # JAX_PLATFORMS asks for one that is not there
        why = " ".join(str(error).split())[:200]
    driver = asked("driver_version")
    found = "nvidia-smi is not there or finds none, so that a driver may be missing"
    if driver != UNKNOWN:
        found = f"nvidia-smi finds one, of driver {driver}: jax[cuda13] needs 580, jax[cuda12] 525"
    plugin = any(importlib.util.find_spec(name) for name in PLUGINS)
    lack = "" if plugin else "what JAX needs for it is not installed: pip install 'jax[cuda13]'"
    return f" ({'; '.join(said for said in (why, found, lack) if said)})"


def asked(fields: str) -> str:
    """Return what NVIDIA's tool says of the GPUs, each answer once."""
    return _said("nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader")


def _memory(device: jax.Device) -> str:
    limit = (device.memory_stats() or {}).get("bytes_limit")
    return UNKNOWN if limit is None else f"{limit / 2**30:.1f} GiB for JAX"


def _environment() -> str:
    """Return the variables that change what is measured."""
    found = {name: value for name, value in os.environ.items() if name.startswith(VARIABLES)}
    return ", ".join(f"{name}={value}" for name, value in sorted(found.items())) or "none"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return NOT_INSTALLED


def _sources() -> str:
    """Return a digest of all code that a case may run: a commit does not tell of changes to it."""
    digest = hashlib.sha256()
    for folder in ("adam_optax", "benchmarks", "tests/support"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return f"sha256 {digest.hexdigest()[:16]}"


def _text(setup: Setup) -> str:
    """Return what the language model is trained on."""
    if setup.text is None:
        return "the documentation of Python's language (pydoc_data.topics)"
    return f"{setup.text.name}, sha256 {hashlib.sha256(setup.text.read_bytes()).hexdigest()[:16]}"


def _said(*command: str) -> str:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        made = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        return "; ".join(dict.fromkeys(made.stdout.strip().split("\n"))) or UNKNOWN
    return UNKNOWN
