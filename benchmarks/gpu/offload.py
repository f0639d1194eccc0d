"""Time steps whose state is on the host, and steps that the host takes."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax

import adam_optax as ao
from benchmarks.contenders import formats
from benchmarks.gpu.case import Case, Measured, Part, Setup
from benchmarks.gpu.steps import drawn
from benchmarks.gpu.timing import compiled, link_rate, timed

FORMATS = ("float32", "stochastic()", "pair()")
WAYS: dict[str, Callable[[Any], Any]] = {
    "on the device": lambda tx: tx,
    "offload": ao.offload,
    "offload_step": functools.partial(ao.offload_step, donate=True),
}


def cases(setup: Setup) -> list[Case]:
    """List the link, then each way with each format."""
    found = [Case("link, host and device", lambda: [linked(setup)])]
    return found + [
        Case(f"{way}: {name}", functools.partial(of_way, setup, way, name))
        for way in ("offload", "offload_step", "on the device")
        for name in (FORMATS[::2] if setup.miniature else FORMATS)
    ]


def linked(setup: Setup) -> Measured:
    """Measure the rate with which the traffic of this process is compared."""
    return Measured("link", "GB/s", link_rate(setup) / 1e6)


def of_way(setup: Setup, way: str, name: str) -> Iterator[Measured]:
    """Measure a step, what it needs on the device, and what goes over the link."""
    before, tx = _in_use(), WAYS[way](ao.adamw(1e-3, storage=formats()[name]))
    leaves, shape = (2, (64, 128)) if setup.miniature else (12, (4096, 8192))
    params, grads = ([drawn(seed, shape, "float32") for _ in range(leaves)] for seed in (0, 1))
    run = [(params, tx.init(params))]
    size, count = sum(x.nbytes for x in params), sum(x.size for x in params)
    state = sum(x.nbytes for x in jax.tree.leaves(run[0][1]))

    def apply(params: Any, state: Any, grads: Any) -> Any:
        return ao.step(tx, grads, state, params)

    if way == "offload_step":  # is a program of its own, and compiles at the first step
        step: Any = apply
    else:
        step, took = compiled(apply, *run[0], grads, donate=(0, 1))
        yield Measured("compile", "s", took)
        yield from _analysis(step.memory_analysis())
    del params

    def dispatch() -> Any:
        run[0] = step(*run[0], grads)
        return run[0]

    jax.block_until_ready(dispatch())
    if before is not None:
        yield Measured("in use between steps", "B/parameter", ((_in_use() or 0) - before) / count)
    taken = timed(setup, dispatch)
    moved = {"offload": 2 * state, "offload_step": 3 * size}.get(way, 0)
    yield taken
    yield Measured("over the link", "B/parameter", moved / count)
    if moved:
        yield Measured("rate", "GB/s", moved / (taken.median or 0.0) / 1e6)
        yield Measured("of the link", "ratio", moved / (taken.median or 0.0) / link_rate(setup))


def _in_use() -> int | None:
    """Return the bytes of the device's memory that are in use, where it tells them."""
    return (jax.devices()[0].memory_stats() or {}).get("bytes_in_use")


def _analysis(found: Any) -> Iterator[Measured]:
    """Yield what the compiled step needs, of the device's memory and of the host's."""
    for title, field in {
        "arguments": "argument_size_in_bytes",
        "scratch": "temp_size_in_bytes",
        "arguments on the host": "host_argument_size_in_bytes",
        "scratch on the host": "host_temp_size_in_bytes",
    }.items():
        if (size := getattr(found, field, None)) is not None:
            yield Measured(title, "MB", size / 1e6)


NOTES = (
    "*step* is the median over seven samples, with the least and the largest; *over the link* and"
    " *rate* are counted: by `offload` the state there and back, by `offload_step` gradients and"
    " parameters to the host and parameters back; *of the link* is that rate beside that of copies;"
    " *arguments* and *scratch* are the compiler's; *in use between steps* is what the"
    " device held more than before.",
    "What it says: what AdamW of 403 M float32 parameters in twelve leaves costs if the host keeps"
    " its state. What it does not say: how much of it a training hides behind its gradients.",
)
PART = Part("offload", "A state on the host, and a step on the host", 0.1, cases, NOTES)
