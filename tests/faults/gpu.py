"""List faults of the benchmark of one GPU: cases that are done twice or lost, time not shared."""

from tests.faults.anchor import Fault

FAULTS = [
    Fault(
        "a resumed run repeats a case",
        "benchmarks/gpu/run.py",
        " if (part.name, case.key) not in finished",
        "",
        "test_a_case_that_is_done_is_not_done_again",
    ),
    Fault(
        "a case of which a kill left a part counts as done",
        "benchmarks/gpu/results.py",
        " if row.measured.measure == END",
        "",
        "test_a_case_of_which_a_kill_left_a_part_is_not_done[40]",
    ),
    Fault(
        "half a line of a killed run is taken for a row",
        "benchmarks/gpu/results.py",
        'whole, _, _ = read_regular(self._file).decode(errors="replace").rpartition("\\n")',
        'whole = read_regular(self._file).decode(errors="replace")',
        "test_a_case_of_which_a_kill_left_a_part_is_not_done[1]",
    ),
    Fault(
        "results of another machine in one table",
        "benchmarks/gpu/results.py",
        "if self.done() and before.get(name) != facts.get(name):",
        "if not facts:",
        "test_results_of_another_machine_are_not_added_to",
    ),
    Fault(
        "a case that fails ends the run",
        "benchmarks/gpu/run.py",
        'found.append(Measured(FAILED, note=f"{type(error).__name__}: {error}"))',
        "raise",
        "test_what_fails_or_is_missing_is_a_row_and_the_next_case_is_done",
    ),
    Fault(
        "the first part takes all the minutes",
        "benchmarks/gpu/timing.py",
        " * self._shares[part] / whole",
        "",
        "test_what_a_part_leaves_of_its_minutes_is_shared_by_those_that_wait",
    ),
    Fault(
        "one step timed for all that were handed out",
        "benchmarks/gpu/timing.py",
        "(time.perf_counter() - began) / repeats",
        "(time.perf_counter() - began)",
        "test_the_time_of_a_step_is_that_of_as_many_as_were_handed_out",
    ),
]
