"""Plant faults that the suite must catch. `python -m tests.faults` measures that again.

Each fault is put into a copy of the package or of the site's sources, and the quick tests are run
on the copy.
"""

from tests.faults import gpu, lab, links, loops, site, steps, storage, tools
from tests.faults.anchor import Fault, planted
from tests.faults.judge import NONE, Judge

__all__ = ["FAULTS", "NONE", "Fault", "Judge", "planted"]

FAULTS = [
    *steps.FAULTS,
    *links.FAULTS,
    *loops.FAULTS,
    *storage.FAULTS,
    *tools.FAULTS,
    *lab.FAULTS,
    *site.FAULTS,
    *gpu.FAULTS,
]
