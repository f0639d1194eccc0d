"""Train alike over one process and two that talk: `python -m tests.engine.sharding.cluster`.

Each process has its share of eight host devices; `jax.distributed` joins them on this machine.
Every few steps all is saved with orbax, beside its fingerprint, and a run that finds a checkpoint
goes on from it if it is whole.
"""

import argparse
import contextlib
import os
import pathlib
import signal
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import adam_optax as ao

WIDTH, BATCH, DEVICES = 64, 32, 8
STORAGE: dict[str, Any] = {"float32": None, "pair": ao.storage.pair()}


def main() -> None:
    """Train, and write what came out."""
    args = _arguments()
    if args.port is not None:
        jax.distributed.initialize(
            f"127.0.0.1:{args.port}", args.processes, args.rank, initialization_timeout=60
        )
    assert jax.device_count() == DEVICES
    mesh = jax.make_mesh((DEVICES,), ("data",), (AxisType.Auto,))
    train(args, mesh)


def train(args: argparse.Namespace, mesh: Any) -> None:
    """All steps from the last checkpoint on, or up to the fault."""
    tx = optax.chain(ao.clip_by_global_norm(1.0), ao.adamw(1e-2, storage=STORAGE[args.storage]))
    run = _start(tx, mesh)
    step = jax.jit(_step(tx), donate_argnums=0)
    folder = pathlib.Path(args.folder).absolute()
    with ocp.CheckpointManager(folder / "run") as manager:
        if (first := manager.latest_step()) is not None:
            target = {"run": jax.tree.map(_shape, run), "fingerprint": ao.fingerprint(run)}
            kept = manager.restore(first, args=ocp.args.StandardRestore(target))
            run = kept["run"]
            ao.check_fingerprint(run, kept["fingerprint"])
        for t in range(first or 0, args.steps):
            if t == args.fault:
                os.kill(os.getpid(), signal.SIGKILL)  # no word to the others
            run, loss = step(run, _batch(t, mesh))
            loss.block_until_ready()
            if (t + 1) % args.every == 0:
                kept = {"run": run, "fingerprint": ao.fingerprint(run)}
                manager.save(t + 1, args=ocp.args.StandardSave(kept))
                manager.wait_until_finished()
    _write(run, folder / f"rank{args.rank}.npz", float(loss))


def _start(tx: Any, mesh: Any) -> Any:
    """Weights over all devices by their rows, and the state beside them."""
    rng = np.random.default_rng(0)
    rows, whole = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())
    draw = lambda *s: rng.standard_normal(s, np.float32) / np.float32(WIDTH**0.5)  # noqa: E731
    params = {
        "in": _put(draw(WIDTH, WIDTH), rows),
        "out": _put(draw(WIDTH, 1), rows),
        "bias": _put(np.zeros(WIDTH, np.float32), whole),
    }
    return params, jax.jit(tx.init)(params)


def _step(tx: Any) -> Any:
    def loss_of(params: Any, batch: Any) -> Any:
        x, y = batch
        hidden = jnp.tanh(x @ params["in"] + params["bias"][None])
        return jnp.mean((hidden @ params["out"] - y) ** 2)

    def step(run: Any, batch: Any) -> Any:
        params, state = run
        loss, grads = jax.value_and_grad(loss_of)(params, batch)
        updates, state = tx.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), loss

    return step


def _batch(t: int, mesh: Any) -> Any:
    """That of a step, over the devices by examples."""
    rng = np.random.default_rng(1000 + t)
    x = rng.standard_normal((BATCH, WIDTH)).astype(np.float32)
    y = np.sin(np.sum(x, 1, keepdims=True), dtype=np.float32)
    return tuple(_put(a, NamedSharding(mesh, P("data"))) for a in (x, y))


def _put(x: Any, place: Any) -> Any:
    """An array of which each process holds what is on its devices."""
    return jax.make_array_from_callback(x.shape, place, lambda i: x[i])


def _shape(x: Any) -> Any:
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)


def _write(run: Any, file: pathlib.Path, loss: float) -> None:
    """The parts of every array that are on this process's devices, with where they belong."""
    parts: dict[str, Any] = {"loss": loss, "fingerprint": ao.fingerprint(run)}
    for keys, x in jax.tree.leaves_with_path(run):
        path = jax.tree_util.keystr(keys, simple=True, separator="/")
        for shard in x.addressable_shards:
            start = [s.start or 0 for s in shard.index]
            parts[f"{path} {start}"] = np.asarray(shard.data)
    with contextlib.closing(file.open("wb")) as stream:
        np.savez(stream, **parts)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="for checkpoints and what comes out")
    parser.add_argument("--port", type=int, help="of the first process; none: there is but one")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--rank", type=int, default=0)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--every", type=int, default=5, help="steps between checkpoints")
    parser.add_argument("--fault", type=int, help="the step before which this process dies")
    parser.add_argument("--storage", choices=STORAGE, default="float32")
    return parser.parse_args()


if __name__ == "__main__":
    main()
