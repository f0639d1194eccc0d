"""The variants. Each is a paper's algorithm box; `adam_optax.alias` gives them optax's names."""

from adam_optax.rule import Rule as Rule
from adam_optax.rule import variant as variant
from adam_optax.rules.adam import adabelief as adabelief
from adam_optax.rules.adam import adam as adam
from adam_optax.rules.adam import adamax as adamax
from adam_optax.rules.adam import amsgrad as amsgrad
from adam_optax.rules.adam import lamb as lamb
from adam_optax.rules.adam import radam as radam
from adam_optax.rules.adam import stable_adam as stable_adam
from adam_optax.rules.adam import yogi as yogi
from adam_optax.rules.family import adan as adan
from adam_optax.rules.family import ademamix as ademamix
from adam_optax.rules.family import adopt as adopt
from adam_optax.rules.family import laprop as laprop
from adam_optax.rules.family import lion as lion
from adam_optax.rules.family import novograd as novograd
from adam_optax.rules.family import simplified_ademamix as simplified_ademamix
from adam_optax.rules.forerunners import adabound as adabound
from adam_optax.rules.forerunners import adadelta as adadelta
from adam_optax.rules.forerunners import adagrad as adagrad
from adam_optax.rules.forerunners import momentum as momentum
from adam_optax.rules.forerunners import rmsprop as rmsprop
from adam_optax.rules.frameworks import constant_adam as constant_adam
from adam_optax.rules.frameworks import fading_adam as fading_adam
from adam_optax.rules.frameworks import scheduled_nadam as scheduled_nadam
