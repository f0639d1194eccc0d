"""List faults of the lab and of the command line: advice, runs that go on, folders, figures."""

from tests.faults.anchor import Fault

FAULTS = [
    Fault(
        "a suggestion whose interval has no gain in it",
        "Paired.is_better",
        "surely = self.median_gain[0] > 0 and self.mean_gain[0] > 0",
        "surely = self.lower > self.seeds / 2",
        "test_a_verdict_says_what_runs_show[eight]",
    ),
    Fault(
        "a suggestion that costs accuracy on the test set",
        "Paired.is_better",
        "surely and not self.is_risky and not self.loses_accuracy",
        "surely and not self.is_risky",
        "test_a_verdict_says_what_runs_show[overfit]",
    ),
    Fault(
        "a choice confirmed with the seeds that made it",
        "Search._stage",
        "seeds = choosing_seeds(self._seeds)",
        "seeds = list(self._seeds[:SEEDS])",
        "test_no_seed_of_the_choice_is_one_of_the_confirmation",
    ),
    Fault(
        "a claim of the paper judged by the seeds that chose the rates",
        "judged",
        "[Trial(runs) for runs in fresh if runs] or group",
        "group",
        "test_seeds_that_chose_do_not_judge",
    ),
    Fault(
        "a stopped run that goes on from another seed's checkpoint",
        "_Folder.path",
        "json.dumps([kind, self._facts, facts])",
        "json.dumps([kind, facts])",
        "test_checkpoints_of_other_runs_are_not_taken[rate]",
    ),
    Fault(
        "two runs of a second in one folder",
        "_new",
        "folder.parts.mkdir()",
        "folder.parts.mkdir(exist_ok=True)",
        "test_every_run_has_a_folder_of_its_own",
    ),
    Fault(
        "a moving average that bends at its ends",
        "smooth",
        '"valid"',
        '"same"',
        "test_smoothing_bends_no_straight_line",
    ),
    Fault(
        "layers in the order of their names' text",
        "reading_order",
        "sorted(range(len(paths)), key=by_number)",
        "list(range(len(paths)))",
        "test_layers_are_read_in_the_order_of_their_numbers",
    ),
]
