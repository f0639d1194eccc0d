"""Train and save, and go on from the newest checkpoint that is whole: `... FOLDER STEPS`."""

import pathlib
import sys
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

import adam_optax as ao

tx = ao.adamw(1e-2, storage=ao.storage.pair())


def save(manager: ocp.CheckpointManager, step: int, run: Any) -> None:
    """Save a run and its fingerprint; the files are written while training goes on."""
    kept = {"run": run, "fingerprint": ao.fingerprint(run)}
    manager.save(step, args=ocp.args.StandardSave(kept))


def restore(manager: ocp.CheckpointManager, step: int, like: Any) -> Any:
    """Return what was saved at a step, or raise an error if any bit of it changed."""
    target = {"run": like, "fingerprint": ao.fingerprint(like)}
    kept = manager.restore(step, args=ocp.args.StandardRestore(target))
    ao.check_fingerprint(kept["run"], kept["fingerprint"])
    return kept["run"]


def restore_newest(manager: ocp.CheckpointManager, fresh: Any) -> tuple[int, Any]:
    """Return the newest run that is whole, with its step; 0 and the fresh one if none was saved."""
    damaged: list[int] = []
    for step in sorted(manager.all_steps(), reverse=True):
        try:
            run = restore(manager, step, fresh)
        except Exception as error:  # a damaged file raises errors of a dozen kinds
            print(f"checkpoint {step} is not taken: {str(error)[:200]}", file=sys.stderr)
            damaged.append(step)
            continue
        for each in damaged:  # or the manager refuses to save these steps again
            folder = pathlib.Path(manager.directory)
            (folder / str(each)).rename(folder / f"damaged-{each}")
        manager.reload()
        return step, run
    if damaged:  # of another model, say: to begin anew would be a loss
        raise SystemExit(f"none of the checkpoints {damaged} can be restored")
    return 0, fresh


@jax.jit
def train(run: Any, number: int) -> Any:
    """Take a step on the batch of that number."""
    x = jax.random.normal(jax.random.fold_in(jax.random.key(1), number), (32, 8))
    grads = jax.grad(lambda w: jnp.mean((x @ w - x[:, :4]) ** 2))(run["params"])
    params, state = ao.step(tx, grads, run["state"], run["params"])
    return {"params": params, "state": state}


def main(folder: str, steps: int) -> None:
    """Train up to a step, from wherever an earlier process came."""
    params = jnp.zeros((8, 4))
    options = ocp.CheckpointManagerOptions(max_to_keep=3)
    with ocp.CheckpointManager(pathlib.Path(folder).absolute(), options=options) as manager:
        first, run = restore_newest(manager, {"params": params, "state": tx.init(params)})
        for number in range(first, steps):
            run = train(run, number)
            if (number + 1) % 5 == 0:
                save(manager, number + 1, run)
    print(f"from step {first} to {steps}: {ao.fingerprint(run).sum()}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
