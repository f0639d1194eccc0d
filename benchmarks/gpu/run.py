"""Go through the parts case by case, in the process that has the device."""

import contextlib
import gc
import importlib
import os
import sys
import time
import traceback
from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp

from benchmarks.gpu import machine
from benchmarks.gpu.case import NAMES, AbsentError, Case, Measured, Part, Setup
from benchmarks.gpu.page import ABSENT, FAILED, Planned
from benchmarks.gpu.results import Results
from benchmarks.gpu.timing import Clock, spent


def load(name: str) -> Part:
    """Return a part; where newer libraries break its module, one whose only case says so."""
    try:
        found: Part = importlib.import_module(f"{__package__}.{name}").PART
    except Exception as error:
        broken = error  # the name of the exception ends with this block

        def fails() -> Iterable[Measured]:
            raise broken

        return Part(name, name, 0.01, lambda _: [Case("import", fails)])
    return found


PARTS = tuple(map(load, NAMES))


class LostError(Exception):
    """Say that the device computes no more in this process, as after an illegal access."""


def run(setup: Setup, until: float, names: Sequence[str], parent: int, retry: bool = False) -> None:
    """Do the cases that are not done yet, until the time is over.

    Args:
        setup: what was asked for.
        until: when, by `time.monotonic`, which all processes of a machine share.
        names: of the parts.
        parent: the process that watches; without it the run ends after its case.
        retry: whether to do again what failed or lacked something.

    Raises:
        LostError: if the device is lost to this process; another may go on.
        SystemExit: if there is no GPU, or the folder has results of something else.
    """
    results, parts = Results(setup.out), [part for part in PARTS if part.name in names]
    clock = Clock(until - time.monotonic(), {part.name: part.share for part in parts})
    with results.locked():
        if not setup.miniature and (why := machine.no_gpu()):
            raise SystemExit(f"JAX sees no GPU here{why}. To try the command on a CPU: --miniature")
        if not setup.miniature:  # else what is on disk would pass for a fast compiler
            jax.config.update("jax_enable_compilation_cache", False)
        cases = {part.name: part.cases(setup) for part in PARTS}
        planned = {
            part.name: Planned(part.title, part.notes, [case.key for case in cases[part.name]])
            for part in PARTS
        }
        results.plan(machine.facts(setup), planned)
        results.tidy(retry)  # not before it is known that the results are this machine's
        while clock.left() > 0 and (left := _left(parts, cases, results)):
            for i, part in enumerate(left):
                stop = clock.until(part.name, [other.name for other in left[i:]])
                for case in _waiting(part, cases, results):
                    if clock.reached(stop) or os.getppid() != parent:
                        break
                    with results.running(part.name, case.key):
                        worked = done(part.name, case, results)
                    if not worked and not _computes():
                        raise LostError(f"the device computes no more after {case.key}")
            if os.getppid() != parent:
                return


def _waiting(part: Part, cases: dict[str, list[Case]], results: Results) -> list[Case]:
    finished = results.done()
    return [case for case in cases[part.name] if (part.name, case.key) not in finished]


def _left(parts: Iterable[Part], cases: dict[str, list[Case]], results: Results) -> list[Part]:
    return [part for part in parts if _waiting(part, cases, results)]


def _computes() -> bool:
    """Tell whether the device still computes: an illegal access ends that for a whole process."""
    try:
        return float(jnp.ones(()) + 1.0) == 2.0
    except Exception:
        return False


def done(part: str, case: Case, results: Results) -> bool:
    """Do a case and append what it measured; what fails is a row, and the next case is done.

    Returns:
        Whether nothing failed.
    """
    found: list[Measured] = []

    def tried() -> None:
        try:
            for one in case.measure():
                found.append(one)  # stays, whatever fails after it
        except AbsentError as lack:
            found.append(Measured(ABSENT, note=str(lack)))
        except Exception as error:
            traceback.print_exc()
            found.append(Measured(FAILED, note=f"{type(error).__name__}: {error}"))

    _, took = spent(tried)
    results.append(part, case.key, found, took)
    print(f"{part}: {case.key} ({took:.1f} s)", flush=True)
    _free()
    return all(one.measure != FAILED for one in found)


def _free() -> None:
    """Give the device's memory back that only cycles still hold, and what PyTorch keeps for later.

    Else the case after one that ran out of memory could run out of it, too.
    """
    gc.collect()
    if torch := sys.modules.get("torch"):
        with contextlib.suppress(Exception):  # the device may be lost; `_computes` finds out
            torch.cuda.empty_cache()
