"""A killed training ends on the same bits, and no damaged checkpoint is restored wrong."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.heavy  # a few kills and places; more are tried by hand
def test_kills_and_damages_change_no_bit() -> None:
    """See `docs/attacked.md` for more of both."""
    line = [sys.executable, "-m", "tests.adversary.crashes", "--kills", "3", "--flips", "40"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "killed 3 times" in done.stdout
    *_, total, _ = (line for line in done.stdout.splitlines() if line.startswith(("|", "40 ")))
    assert total.startswith("| all | 40 | ")
    _, _, _, orbax, fingerprint, died, right, wrong, _ = (cell.strip() for cell in total.split("|"))
    assert int(orbax) + int(fingerprint) + int(died) + int(right) == 40
    assert int(fingerprint) > 0  # what Orbax alone would have restored wrong
    assert int(wrong) == 0
