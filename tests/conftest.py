"""Run every test under strict promotion of dtypes and ranks; warnings are errors (pyproject)."""

import os
import pathlib
from collections.abc import Iterator

# Before jax is imported: workers, runs with planted faults and the next run share what is compiled.
CACHE = pathlib.Path(__file__).parents[1] / ".jax_cache"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import hypothesis
import jax
import pytest

# Before jax looks for devices: the tests are of this machine's CPU, and an accelerator's plugin
# without one, as of the extra `aot`, is then not asked to run.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
jax.config.update("jax_platforms", os.environ["JAX_PLATFORMS"])
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# The first example compiles: no timing decides a test. The same examples in every run.
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True)
hypothesis.settings.load_profile("steady")


@pytest.hookimpl(tryfirst=True)  # before `-m` deselects
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave most of a test's matrix to the heavy run: `@pytest.mark.matrix(keep=2, quick=["a"])`.

    Quick cases stay, and `keep` of the others, spread evenly over the matrix. Cases are quick by
    their ids in `quick`, or by their own mark; a mark of the whole test would thin nothing.
    """
    cases: dict[str, list[pytest.Item]] = {}
    named: dict[tuple[str, str], bool] = {}
    for item in items:
        matrix = item.get_closest_marker("matrix")
        if matrix is None:
            continue
        if any(mark.name == "quick" for mark in getattr(item.function, "pytestmark", [])):  # type: ignore[attr-defined]
            raise pytest.UsageError(f"{item.nodeid}: quick and matrix; write matrix(quick=[ids])")
        test, _, case = item.nodeid.removesuffix("]").partition("[")
        for quick in matrix.kwargs.get("quick", ()):
            named[test, quick] = named.get((test, quick), False) or case == quick
            if case == quick:
                item.add_marker(pytest.mark.quick)
        if not (item.get_closest_marker("heavy") or item.get_closest_marker("quick")):
            cases.setdefault(test, []).append(item)
    whole = not any("::" in argument for argument in config.args)
    for (test, quick), found in named.items():
        if whole and not found:
            raise pytest.UsageError(f"{test}: quick={quick!r} is the id of none of its cases")
    for members in cases.values():
        mark = members[0].get_closest_marker("matrix")
        keep = mark.kwargs["keep"] if mark else len(members)
        kept = {len(members) * i // keep for i in range(keep)}
        for i, item in enumerate(members):
            if i not in kept:
                item.add_marker(pytest.mark.heavy)


@pytest.fixture
def x64() -> Iterator[None]:
    """Switch float64 on for one test."""
    with jax.enable_x64(True):
        yield
