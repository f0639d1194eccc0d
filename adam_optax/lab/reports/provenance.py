"""Say how results were made: the command, the date, the versions and the machine."""

import datetime
import itertools
import os
import platform
import shlex
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import jax

PACKAGES = ("adam-optax", "jax", "jaxlib", "optax", "flax", "numpy")
"""Packages whose versions a report names."""


def facts(seeds: str) -> list[tuple[str, str]]:
    """Return what is known of how results were made, as names and values.

    Args:
        seeds: The seeds, in words.
    """
    return [
        ("command", command()),
        ("seeds", seeds),
        ("date", date()),
        ("versions", versions()),
        ("machine", machine()),
    ]


def command() -> str:
    """Return the command line of this process, or what stands for one in other programs."""
    program = Path(sys.argv[0]) if sys.argv else Path()
    ours = "adam-optax", "adam_optax_command"
    is_ours = program.stem in ours or program.parts[-3:] == ("adam_optax", "cli", "__main__.py")
    return shlex.join(["adam-optax", *sys.argv[1:]]) if is_ours else "none: made from Python"


def date() -> str:
    """Return the time in UTC, to the minute.

    As in other builds that can be made again bit by bit, `SOURCE_DATE_EPOCH` in the environment is
    taken for the time: seconds since 1970.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    now = datetime.datetime.now(datetime.UTC)
    if epoch.isdecimal():
        now = datetime.datetime.fromtimestamp(int(epoch), datetime.UTC)
    return f"{now:%Y-%m-%d %H:%M} UTC"


def versions() -> str:
    """Return the versions of this library, of those below it, and of Python."""
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:  # run from its source, and not installed
            continue
    return ", ".join([*found, f"Python {platform.python_version()}"])


def machine() -> str:
    """Return the devices that JAX uses, and what they are part of."""
    devices = jax.devices()
    kind = devices[0].device_kind
    device = f"{len(devices)} x {kind}" if len(devices) > 1 else kind
    cores = os.cpu_count()
    return f"JAX on {device}; {platform.system()} {platform.machine()}, {cores} CPU cores"


def listed(seeds: Iterable[int]) -> str:
    """Name seeds in words.

    >>> listed(range(10)), listed([5, 0, 3]), listed([0, 1, 2, 1073741824])
    ('0 to 9', '0, 3, 5', '0 to 2, 1073741824')
    """
    found = sorted(set(seeds))
    groups = itertools.groupby(enumerate(found), lambda pair: pair[1] - pair[0])
    runs = [[seed for _, seed in group] for _, group in groups]
    said = (f"{r[0]} to {r[-1]}" if len(r) > 2 else ", ".join(map(str, r)) for r in runs)
    return ", ".join(said) or "none"
