"""Print which test catches each fault, or those that are named: `python -m tests.faults [name]`."""

import importlib.util
import pathlib
import sys
import tempfile
import time

from tests.faults import FAULTS, NONE, Judge

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as cache, Judge(pathlib.Path(cache)) as judge:
        for fault in (NONE, *FAULTS):
            if fault.name in sys.argv[1:] or not sys.argv[1:]:
                if fault.needs and importlib.util.find_spec(fault.needs) is None:
                    print(f"{fault.name}: needs {fault.needs}", flush=True)
                    continue
                start = time.perf_counter()
                if fault is NONE:
                    test = judge.control(each.caught_by for each in FAULTS)
                else:
                    test = judge.caught(fault)
                seconds = f"{time.perf_counter() - start:.1f} s"
                known = "" if not test or fault.caught_by in test else f", not {fault.caught_by}"
                print(f"{fault.name}: {test or 'not caught'}{known} ({seconds})", flush=True)
