"""Record what every optimiser computes, to the bit: `python -m tests.support.golden --write`.

A case is an optimiser in one storage, a precision link, a chain or rows, run for 20 steps. The file
`golden.json` holds, of each, the structure of its state and a digest of its updates and state. A
change of the code that changes none of these changes no result. Where a change of bits is meant,
write the file anew in a commit that says why.

Digests are comparable between machines because the program runs in a process of its own, whose
instruction set is pinned to AVX2, and in which XLA compiles all steps: loops of this library's own
are held to XLA's bits elsewhere (`tests/engine/kernels/cpu/test_bits.py`).
"""

import argparse
import functools as ft
import hashlib
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

FILE = pathlib.Path(__file__).parent / "golden.json"
PINNED = {
    "JAX_PLATFORMS": "cpu",
    "ADAM_OPTAX_CPU_LOOPS": "never",
    "XLA_FLAGS": "--xla_cpu_max_isa=AVX2 --xla_force_host_platform_device_count=1",
}
STEPS = 20

Case = Callable[[], Any]
"""Returns a pytree: of results, and of the state after the last step."""


def optimizers() -> dict[str, dict[str, Any]]:
    """Name one or more settings of every optimiser."""
    from tests.support.cases import CASES
    from tests.support.family import MEMBERS

    made = {case.id: {"name": case.name, **case.options} for case in CASES}
    made |= {member.id: {"name": member.name, **member.options} for member in MEMBERS}
    return made


def storages() -> dict[str, Any]:
    """Name every format, and mappings and functions that mix them."""
    import adam_optax as ao
    from tests.support.formats import FORMATS

    s = ao.storage
    mixed = {
        "by moment": {"mu": s.int8(64), "nu": s.float8()},
        "by leaf": lambda path, leaf: s.pair() if leaf.ndim > 1 else None,
        "factored(2)": {"nu": s.factored(2)},
        "pair(3, block=128)": s.pair(3, block=128),
        "pair(1, block=128)": s.pair(1, block=128),
    }
    return FORMATS | mixed


def cases() -> Iterator[tuple[str, Case]]:
    """Name all cases in turn."""
    import jax
    import jax.numpy as jnp
    import optax

    import adam_optax as ao

    first: dict[str, tuple[Any, dict[str, Any]]] = {}
    for name, settings in optimizers().items():
        how = dict(settings)
        make = getattr(ao, how.pop("name"))
        first.setdefault(make.__name__, (make, how))
        yield f"optimizer/{name}", _steps(ft.partial(make, 0.01, **how))
    for name, (make, how) in first.items():
        for kind, storage in storages().items():
            given = how | ({"factored": False} if name in ("adafactor", "came") else {})
            yield f"storage/{name}/{kind}", _steps(ft.partial(make, 0.01, storage=storage, **given))

    falling = optax.linear_schedule(0.1, 0.01, 15)
    matrices = lambda params: jax.tree.map(lambda p: p.ndim > 1, params)  # noqa: E731
    c = ao.couplings
    pair = ao.storage.pair()
    chains: dict[str, Callable[[], Any]] = {
        "clip, adamw": lambda: optax.chain(ao.clip_by_global_norm(1.0), ao.adamw(0.1)),
        "schedule": lambda: ao.adamw(falling, weight_decay=0.1),
        "schedules": lambda: ao.adamw(falling, b1=lambda n: 0.9 - 0.01 * n, weight_decay=falling),
        "schedules in pair()": lambda: ao.adamw(falling, b2=lambda n: 0.9 + 0 * n, storage=pair),
        "mask": lambda: ao.adamw(falling, weight_decay=0.1, mask=matrices),
        "masked": lambda: optax.masked(ao.adam(0.1), matrices),
        "no rate": lambda: ao.adamw(None),
        "relative": lambda: ao.adamw(falling, weight_decay=0.1, coupling=c.relative(0.1)),
        "corrected": lambda: ao.adamw(falling, weight_decay=0.1, coupling=c.corrected(0.1)),
        "independent": lambda: ao.lamb(falling, weight_decay=0.1, coupling=c.INDEPENDENT),
        "cautious": lambda: ao.adamw(falling, weight_decay=0.1, coupling=c.cautious()),
        "bfloat16": lambda: ao.adamw(0.1, mu_dtype="bfloat16", nu_dtype="bfloat16"),
        "injected": lambda: optax.inject_hyperparams(ao.adamw)(0.1, b1=0.8),
        "every other": lambda: optax.MultiSteps(ao.adamw(0.1), 2).gradient_transformation(),
    }
    chains |= {
        name: getattr(ao, name) for name in sorted(n for n in dir(ao) if n.startswith("scale_by_"))
    }
    for name, make in chains.items():
        yield f"chain/{name}", _steps(make)
    for name, dtype in {"bfloat16": jnp.bfloat16, "float16": jnp.float16}.items():
        for link in ("stochastic_rounding", "kahan", "split_master"):
            made = getattr(ao.precision, link)
            yield (
                f"precision/{link}/{name}",
                _steps(ft.partial(_linked, made), dtype),
            )
    for name in ("sgd", "adagrad", "rmsprop", "adam", "adamw", "nadam", "nadamw", "amsgrad"):
        yield f"rows/{name}", _rows(getattr(ao.rows, name))
    yield "rows/scheduled", _rows(lambda rate: ao.rows.adamw(falling, weight_decay=0.1))
    yield "step/adamw", _stepped(lambda: ao.adamw(falling, weight_decay=0.1))
    yield "step/pair()", _stepped(lambda: ao.adam(0.1, storage=pair))


def _linked(link: Callable[[], Any]) -> Any:
    import optax

    import adam_optax as ao

    return optax.chain(ao.adamw(0.01), link())


def gradients(dtype: Any) -> tuple[Any, list[Any]]:
    """Make parameters and a gradient for each step, over six decades, with zeros among them."""
    import jax.numpy as jnp
    import numpy as np

    rng = np.random.default_rng(5)
    shapes = {"w": (3, 130), "b": (5,)}
    scale = {n: 10.0 ** rng.uniform(-5, 1, shape) for n, shape in shapes.items()}
    array = lambda x: jnp.asarray(x, dtype)  # noqa: E731
    params = {n: array(rng.standard_normal(shape)) for n, shape in shapes.items()}
    grads = []
    for _ in range(STEPS):
        kept = {n: rng.random(shape) > 0.1 for n, shape in shapes.items()}
        g = {n: scale[n] * rng.standard_normal(shape) * kept[n] for n, shape in shapes.items()}
        grads.append({n: array(x) for n, x in g.items()})
    return params, grads


def _steps(make: Callable[[], Any], dtype: Any = "float32") -> Case:
    def run() -> Any:
        import optax

        tx = make()
        params, grads = gradients(dtype)
        state, out = tx.init(params), None
        for g in grads:
            out, state = tx.update(g, state, params)
            params = optax.apply_updates(params, out)
        return {"updates": out, "params": params, "state": state}

    return run


def _stepped(make: Callable[[], Any]) -> Case:
    def run() -> Any:
        import jax

        import adam_optax as ao

        tx = make()
        params, grads = gradients("float32")
        step = jax.jit(lambda g, s, p: ao.step(tx, g, s, p))
        state = tx.init(params)
        for g in grads:
            params, state = step(g, state, params)
        return {"params": params, "state": state}

    return run


def _rows(make: Callable[..., Any]) -> Case:
    def run() -> Any:
        import jax.numpy as jnp
        import numpy as np

        import adam_optax as ao

        rng, tx = np.random.default_rng(3), make(0.01)
        state = tx.init(jnp.asarray(rng.standard_normal((30, 4)), jnp.float32))
        for _ in range(STEPS):
            ids = jnp.asarray(rng.integers(0, 30, 8), jnp.int32)
            batch = ao.rows.unique(ids, 30)
            found = tx.lookup(state, batch.ids)
            grads = jnp.asarray(rng.standard_normal(found.params.shape), jnp.float32)
            state = tx.apply(state, found, grads)
        return {"table": tx.materialize(state), "state": state}

    return run


def record(case: Case) -> dict[str, Any]:
    """Run a case, or record the type of error by which it is refused."""
    import jax
    import numpy as np

    try:
        result = case()
    except (TypeError, ValueError) as error:
        return {"refused": type(error).__name__}
    digest, names = hashlib.sha256(), []
    for path, x in jax.tree.leaves_with_path(result):
        names.append(f"{jax.tree_util.keystr(path)} {x.dtype}{list(x.shape)}")
        digest.update(np.asarray(x).tobytes())
    tree = str(jax.tree.structure(result))
    structure = hashlib.sha256("\n".join([tree, *names]).encode()).hexdigest()[:16]
    return {"bits": digest.hexdigest()[:16], "structure": structure, "leaves": len(names)}


def run(only: str = "") -> dict[str, Any]:
    """Record the cases in whose names a regular expression is found."""
    import jax

    jax.config.update("jax_numpy_dtype_promotion", "standard")
    found = {name: record(case) for name, case in cases() if re.search(only, name)}
    about = {"jaxlib": metadata.version("jaxlib"), "machine": platform.machine()}
    return {"about": about, "cases": found}


def in_a_process(only: str = "") -> dict[str, Any]:
    """Run `run` in a process of its own, with the instruction set pinned."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.golden", "--only", only],
        env=os.environ | PINNED,
        cwd=pathlib.Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the golden run failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", default="", help="run only cases in whose names this regular expression is found"
    )
    parser.add_argument("--write", action="store_true", help=f"write {FILE.name}")
    given = parser.parse_args()
    if given.write:
        FILE.write_text(json.dumps(in_a_process(), indent=0, sort_keys=True) + "\n")
    else:
        json.dump(run(given.only), sys.stdout)


if __name__ == "__main__":
    _main()
