"""Compare optimisers on real data, from Python or with the command `adam-optax`.

    from adam_optax import lab

    comparison = lab.compare("digits", ["adam", "nadam", "optax.adam"])
    for row in comparison.rows():
        print(row.optimizer, row.final_loss, row.test_accuracy)

`compare` trains several optimisers with the same seeds, `train` one optimiser with one seed,
`sweep` every setting of a grid of hyper-parameters; `suggest` finds hyper-parameters that hold in
whole runs, or keeps the default, and `observe` records what an optimiser does to each layer.
`open_executor` lets many processes or machines share the work. `paper_results` shows the Adam
paper's experiments as they came out. `problems` holds the built-in problems by name. The lab needs
the extra `adam-optax[lab]`.
"""

from adam_optax.lab._problems.builtin import problems
from adam_optax.lab._problems.mnist import read_idx
from adam_optax.lab._problems.models import CNN, MLP, Logistic, Transformer
from adam_optax.lab._problems.problem import Data, Problem
from adam_optax.lab.comparison import Comparison, Row, Spread, compare
from adam_optax.lab.engines import open_executor
from adam_optax.lab.errors import DataError, LabError
from adam_optax.lab.observation import observe
from adam_optax.lab.optimizers import Optimizer
from adam_optax.lab.paper.committed import PaperResults, paper_results
from adam_optax.lab.results import Point, Setting, Sweep
from adam_optax.lab.run import Epoch, Run
from adam_optax.lab.suggestion import suggest
from adam_optax.lab.sweeper import sweep
from adam_optax.lab.trainer import train

__all__ = [
    "CNN",
    "MLP",
    "Comparison",
    "Data",
    "DataError",
    "Epoch",
    "LabError",
    "Logistic",
    "Optimizer",
    "PaperResults",
    "Point",
    "Problem",
    "Row",
    "Run",
    "Setting",
    "Spread",
    "Sweep",
    "Transformer",
    "compare",
    "observe",
    "open_executor",
    "paper_results",
    "problems",
    "read_idx",
    "suggest",
    "sweep",
    "train",
]
