"""The lab: optimisers compared on real data, from Python or with `adam-optax`.

    from adam_optax import lab

    comparison = lab.compare("digits", ["adam", "nadam", "optax.adam"])
    for row in comparison.rows():
        print(row.optimizer, row.final_loss, row.test_accuracy)

`compare` trains several optimisers with the same seeds, `train` one with one seed;
`report` makes the table, the figure and the CSV files. Needs `adam-optax[lab]`.
"""

from adam_optax.lab.compare import Comparison as Comparison
from adam_optax.lab.compare import Row as Row
from adam_optax.lab.compare import Spread as Spread
from adam_optax.lab.compare import compare as compare
from adam_optax.lab.errors import DataError as DataError
from adam_optax.lab.errors import LabError as LabError
from adam_optax.lab.idx import read_idx as read_idx
from adam_optax.lab.models import CNN as CNN
from adam_optax.lab.models import MLP as MLP
from adam_optax.lab.models import Logistic as Logistic
from adam_optax.lab.models import Transformer as Transformer
from adam_optax.lab.observe import observe as observe
from adam_optax.lab.optimizers import Optimizer as Optimizer
from adam_optax.lab.points import Point as Point
from adam_optax.lab.points import Setting as Setting
from adam_optax.lab.points import Sweep as Sweep
from adam_optax.lab.problem import Data as Data
from adam_optax.lab.problem import Problem as Problem
from adam_optax.lab.problems import problems as problems
from adam_optax.lab.record import Epoch as Epoch
from adam_optax.lab.record import Run as Run
from adam_optax.lab.suggest import suggest as suggest
from adam_optax.lab.sweep import sweep as sweep
from adam_optax.lab.train import train as train
