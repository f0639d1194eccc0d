"""Check that a share is of time, and that what remains follows from what was measured."""

import pytest

from adam_optax.cli.progress import Estimate, progress


class Clock:
    """Tell a time that the test sets."""

    now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_nothing_is_known_before_a_unit_was_measured(clock: Clock) -> None:
    estimate = Estimate({"compiling": 1, "training": 10}, clock)
    estimate.begin("compiling")
    clock.now = 5
    assert estimate.share() is None
    assert estimate.remaining() is None


@pytest.mark.quick
def test_compiling_and_training_have_shares_of_their_own(clock: Clock) -> None:
    estimate = Estimate({"compiling": 2, "training": 10}, clock)
    estimate.begin("compiling")
    clock.now = 4
    estimate.begin("training")
    clock.now = 5
    estimate.advance("training", 1)
    assert estimate.remaining() == 9 * 1 + 1 * 4  # the second compilation is as long as the first
    assert estimate.share() == 5 / (5 + 13)
    clock.now = 5.5  # half of a unit
    assert estimate.remaining() == 8.5 + 4


def test_time_goes_on_where_a_unit_takes_longer_than_those_before(clock: Clock) -> None:
    estimate = Estimate({"training": 3}, clock)
    estimate.begin("training")
    clock.now = 1
    estimate.advance("training", 1)
    clock.now = 9
    assert estimate.remaining() == 1  # of the last unit: the second should be over


def test_what_was_kept_on_disk_took_no_time(clock: Clock) -> None:
    estimate = Estimate({"training": 10}, clock)
    estimate.advance("training", 6)  # before the stage begins
    estimate.begin("training")
    clock.now = 2
    estimate.advance("training", 7)
    assert estimate.remaining() == 3 * 2


def test_more_units_than_planned_are_no_negative_time(clock: Clock) -> None:
    estimate = Estimate({"training": 1}, clock)
    estimate.begin("training")
    clock.now = 1
    estimate.advance("training", 5)
    assert estimate.remaining() == 0
    assert estimate.share() == 1


@pytest.mark.quick
def test_a_bar_of_which_nothing_remains_is_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is planned, so all is done when rich first asks, before the bar has a task."""
    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal, to rich
    with progress(False, {"training": 0}) as shown:
        shown.stage("drawing", "figures")
    said = capsys.readouterr().err
    assert "drawing figures" in said
    assert "100%" in said
    assert "0 s left" in said
