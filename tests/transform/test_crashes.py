"""A killed training ends on the same bits, and no damaged checkpoint is restored wrong."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.heavy  # one format, two kills and twenty places; more are tried by hand
def test_kills_and_damages_change_no_bit() -> None:
    """See `docs/attacked.md` for more of both."""
    line = [sys.executable, "-m", "tests.adversary.crashes", "--formats", "pair()"]
    line += ["--kills", "2", "--flips", "20"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "killed 2 times" in done.stdout
    (total,) = (line for line in done.stdout.splitlines() if line.startswith("| all | 20 | "))
    _, _, _, orbax, fingerprint, died, right, wrong, _ = (cell.strip() for cell in total.split("|"))
    assert int(orbax) + int(fingerprint) + int(died) + int(right) == 20
    assert int(fingerprint) > 0  # what Orbax alone would have restored wrong
    assert int(wrong) == 0
