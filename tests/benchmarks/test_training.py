"""Losses of one seed are compared with those of the same seed, whatever a kept file has beside."""

from typing import Any

import pytest

from benchmarks import training

pytestmark = pytest.mark.quick


def test_losses_are_compared_seed_by_seed() -> None:
    float32 = {"2": 5.0, "0": 1.0, "1": 2.0}
    losses = {"mlp": {"dense()": float32, "pair()": {"0": 1.5, "1": 2.5}}}
    tasks: dict[str, Any] = {"mlp": None}
    _, _, twin, pair = training.table(losses, tasks, ["dense()", "pair()"]).splitlines()
    assert "2.6667 ± 2.0817" in twin
    assert "2.0000 (+0.71)" in pair  # half a unit over the deviation of 1 and 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ([], "name the data of at least one task"),
        (["--mnist", "nowhere", "--seeds", "0"], "--seeds must be 1 or more, not 0"),
    ],
)
def test_bad_arguments_are_named(
    wrong: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        training.main(wrong)
    assert said in capsys.readouterr().err
