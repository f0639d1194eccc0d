"""A Python process with so many host devices, which are there only if asked for at its start."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[3]


def environment(count: int) -> dict[str, str]:
    """The variables of a process with so many devices."""
    flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={count}"}
    return os.environ | flags | {"JAX_PLATFORMS": "cpu"}


def pytest_with(count: int, path: str, *arguments: str) -> str:
    """Run a file of tests, none of which may be skipped, in such a process.

    Raises:
        AssertionError: if one fails, with what pytest says.
    """
    options = ["-q", "-x", "-p", "no:cacheprovider", *arguments]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", path, *options],
        cwd=ROOT,
        env=environment(count),
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    assert "skipped" not in run.stdout
    return run.stdout
