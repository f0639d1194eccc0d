"""Check that names are resolved to optimisers that can train, or refused with help."""

import optax
import pytest

import adam_optax
from adam_optax.lab import LabError, Optimizer
from adam_optax.lab.optimizers import DEFAULT_OPTIMIZERS, resolve, resolve_all


@pytest.mark.quick
def test_every_default_resolves() -> None:
    assert [found.name for found in resolve_all(DEFAULT_OPTIMIZERS)] == list(DEFAULT_OPTIMIZERS)


@pytest.mark.parametrize(("name", "module"), [("adam", adam_optax), ("optax.adam", optax)])
def test_the_prefix_chooses_the_library(
    monkeypatch: pytest.MonkeyPatch, name: str, module: object
) -> None:
    rates = []

    def adam(learning_rate: float) -> optax.GradientTransformation:
        rates.append(learning_rate)
        return optax.sgd(learning_rate)

    monkeypatch.setattr(module, "adam", adam)
    resolve(name).build(0.25)
    assert rates[-1] == 0.25


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nadma", "unknown optimiser 'nadma'; did you mean nadam?.*known: .*adam, .*optax.<name>"),
        ("optax.sdg", "did you mean optax.sgd?.*known: optax.adabelief"),
        ("optax.chain", "unknown optimiser 'optax.chain'"),
        ("optax.scale_by_learning_rate", "unknown optimiser"),
        ("optax.lbfgs", "'optax.lbfgs' cannot be used here: .*missing"),
        ("os.system", "unknown optimiser"),
    ],
)
def test_what_cannot_train_is_refused(name: str, message: str) -> None:
    with pytest.raises(LabError, match=message.replace("?", r"\?")):
        resolve(name)


def test_partial_functions_are_found() -> None:
    assert resolve("optax.nadam").rate == 1


def test_presets_follow_the_name_in_both_libraries() -> None:
    assert resolve("adamax").rate == resolve("optax.adamax").rate == 2
    state = resolve("optax.sgd").build(0.1).init(1.0)
    assert isinstance(state[0], optax.TraceState)  # momentum


def test_an_optimizer_of_the_callers_own_passes_through() -> None:
    mine = Optimizer("mine", optax.sgd)
    assert resolve(mine) is mine


@pytest.mark.parametrize(
    ("names", "message"), [(["adam", "adam"], "'adam' is named twice"), ([], "no optimiser")]
)
def test_repeated_and_empty_lists_are_refused(names: list[str], message: str) -> None:
    with pytest.raises(LabError, match=message):
        resolve_all(names)
