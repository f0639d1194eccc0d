"""Where JAX has no Pallas, or no longer the flavour for a platform, XLA compiles the plain step."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

PROGRAM = """
import json, sys, warnings
from importlib.abc import MetaPathFinder

hidden = tuple(sys.argv[1].split())

class Without(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in hidden or name.startswith(tuple(f"{n}." for n in hidden)):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Without())
import jax, jax.numpy as jnp
import adam_optax as ao

at_import = [n for n in sys.modules if n.startswith("jax.experimental.pallas")]

def text(tx, platform, in_one):
    params = {n: jnp.ones((512, 256)) for n in "ab"}
    state = tx.init(params)
    one = lambda g, s, p: ao.step(tx, g, s, p) if in_one else tx.update(g, s, p)
    lowered = jax.jit(one).trace(params, state, params).lower(lowering_platforms=(platform,))
    if platform == "cpu":
        new, _ = lowered.compile()(params, state, params)
        assert all(jnp.isfinite(x).all() for x in jax.tree.leaves(new))
    return lowered.as_text()

kernels = {"cuda": "gpu", "tpu": "tpu_custom_call", "cpu": "custom_call"}
found = {}
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    for name, storage in (("pair", ao.storage.pair(block=128)), ("float8", ao.storage.float8())):
        for platform in ("cpu", "cuda", "tpu"):
            lowered = [text(ao.adam(1e-3, storage=storage), platform, one) for one in (True, False)]
            found[f"{name} {platform}"] = [t.count(kernels[platform]) for t in lowered]
print(json.dumps([at_import, found, [[str(w.category.__name__), str(w.message)] for w in said]]))
"""
ALL = "jax.experimental.pallas"
"""The flavours are modules in it."""


def run(hidden: str) -> Any:
    """Return what of Pallas is imported, kernels by format and platform, and what is said."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, hidden],
        env=os.environ | {"JAX_PLATFORMS": "cpu", "ADAM_OPTAX_CPU_LOOPS": "never"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def kernels(found: dict[str, list[int]], platform: str) -> list[bool]:
    """Tell of each format and call whether a kernel was lowered."""
    return [bool(n) for key, counts in found.items() if key.endswith(platform) for n in counts]


def test_nothing_of_pallas_is_imported_before_there_is_a_kernel() -> None:
    at_import, found, said = run("nothing")
    assert at_import == []
    assert said == []
    assert not any(kernels(found, "cpu"))
    assert all(kernels(found, "pair cuda") + kernels(found, "tpu"))
    assert not any(kernels(found, "float8 cuda")), "a GPU that is not known may have no float8"


def test_without_pallas_a_step_is_compiled_by_xla_which_is_said_once_a_platform() -> None:
    _, found, said = run(ALL)
    assert not any(map(sum, found.values()))
    assert [kind for kind, _ in said] == ["RuntimeWarning"] * 2
    for (_, text), platform in zip(said, ("cuda", "tpu"), strict=True):
        assert f"has no Pallas for {platform} that this adam_optax knows (" in text
        assert "XLA alone compiles the steps" in text


@pytest.mark.heavy
def test_without_the_flavours_for_gpus_tpus_keep_their_kernel() -> None:
    _, found, said = run(f"{ALL}.triton {ALL}.mosaic_gpu")
    assert not any(kernels(found, "cuda"))
    assert all(kernels(found, "tpu"))
    assert len(said) == 1
