"""Go through the parts case by case, in the process that has the device."""

import importlib
import os
import traceback
from collections.abc import Iterable, Sequence

import jax

from benchmarks.gpu import machine
from benchmarks.gpu.case import NAMES, AbsentError, Case, Measured, Part, Setup
from benchmarks.gpu.results import ABSENT, FAILED, Results
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


def run(setup: Setup, seconds: float, names: Sequence[str], parent: int) -> None:
    """Do the cases that are not done yet, until the time is over.

    Args:
        setup: what was asked for.
        seconds: how long.
        names: of the parts.
        parent: the process that watches; without it the run ends after its case.
    """
    results, parts = Results(setup.out), [part for part in PARTS if part.name in names]
    clock = Clock(seconds, {part.name: part.share for part in parts})
    with results.locked():
        if not setup.miniature and jax.default_backend() == "cpu":
            raise SystemExit("JAX sees no GPU here: install jax[cuda13], or write --miniature")
        if not setup.miniature:  # else what is on disk would pass for a fast compiler
            jax.config.update("jax_enable_compilation_cache", False)
        cases = {part.name: part.cases(setup) for part in PARTS}
        planned = {p.name: [p.title, *(case.key for case in cases[p.name])] for p in PARTS}
        results.plan(machine.facts(setup), planned)
        while clock.left() > 0 and (left := _left(parts, cases, results)):
            for i, part in enumerate(left):
                stop = clock.until(part.name, [other.name for other in left[i:]])
                for case in _waiting(part, cases, results):
                    if clock.reached(stop) or os.getppid() != parent:
                        break
                    with results.running(part.name, case.key):
                        done(part.name, case, results)
            if os.getppid() != parent:
                return


def _waiting(part: Part, cases: dict[str, list[Case]], results: Results) -> list[Case]:
    finished = results.done()
    return [case for case in cases[part.name] if (part.name, case.key) not in finished]


def _left(parts: Iterable[Part], cases: dict[str, list[Case]], results: Results) -> list[Part]:
    return [part for part in parts if _waiting(part, cases, results)]


def done(part: str, case: Case, results: Results) -> None:
    """Do a case and append what it measured; what fails is a row, and the next case is done."""
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
