"""Tune Adam with Optuna: start this file as often as there are processors to use."""

import sys

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from adam_optax import lab

TRIALS = 12
"""Trials of all processes together."""


def objective(trial: optuna.Trial) -> float:
    """Return the training loss at the end of a run."""
    rate = trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)
    b1 = trial.suggest_float("b1", 0.5, 0.99)
    grid = [{"learning_rate": rate, "b1": b1}]
    return lab.sweep("digits", "adam", grid, range(3), epochs=5).settings[0].loss


if __name__ == "__main__":
    study = optuna.create_study(
        study_name="digits",
        storage=JournalStorage(JournalFileBackend("digits.log")),  # which all processes share
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=int(sys.argv[1])),  # another in each process
    )
    finished = optuna.study.MaxTrialsCallback(TRIALS)
    study.optimize(objective, callbacks=[finished])
    print(study.best_params, study.best_value)
