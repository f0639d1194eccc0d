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
        "finished = {row[:2] for row in read if row.measured.measure == END}",
        "finished = {row[:2] for row in read}",
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
        "if before and name not in LISTED and",
        "if not facts and",
        "test_results_of_another_machine_or_version_are_not_added_to[device]",
    ),
    Fault(
        "results of which nobody knows the machine are added to",
        "benchmarks/gpu/results.py",
        "if self.rows() and not self._facts.exists():",
        "if not self._folder.exists():",
        "test_results_of_which_nobody_knows_the_machine_are_not_added_to",
    ),
    Fault(
        "results with other columns are taken over",
        "benchmarks/gpu/results.py",
        "if head != list(COLUMNS):",
        "if not head:",
        "test_what_is_not_of_this_command_is_not_written_over[no benchmark]",
    ),
    Fault(
        "results of another command are taken over",
        "benchmarks/gpu/results.py",
        'if found.pop("of") == COMMAND:',
        'if found.pop("of"):',
        "test_what_is_not_of_this_command_is_not_written_over[facts of another command]",
    ),
    Fault(
        "half a note of the case that runs",
        "benchmarks/gpu/results.py",
        "write_atomically(self._running, json.dumps([part, case]).encode())",
        "self._running.write_text(json.dumps([part, case]))",
        "test_a_full_disk_leaves_no_half_of_a_file[running]",
    ),
    Fault(
        "a dead device fails all the cases that are left",
        "benchmarks/gpu/run.py",
        "if not worked and not _computes():",
        "if not worked and not results:",
        "test_a_device_that_is_lost_to_a_process_is_there_for_the_next",
    ),
    Fault(
        "a case that kills its process is done again for ever",
        "benchmarks/gpu/__main__.py",
        'retry = ["--no-retry"]',
        "retry = list[str]()",
        "test_a_case_that_ends_its_process_is_a_row_and_the_process_begins_anew",
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
