"""Test that names which were renamed are found, and warn with the new name."""

import types

import pytest

from adam_optax import directions, moments

RENAMED = {
    moments: {
        "total": "trace",
        "last": "previous",
        "peak": "running_max",
        "fading_peak": "decayed_max",
    },
    directions: {
        "Finish": "Postprocess",
        "mean": "first_moment",
        "deviation": "denominator",
        "over": "ratio_no_sqrt",
        "ratio_hat": "ratio_eps_hat",
        "hat_pace": "eps_hat_scale",
        "clipped": "clip_by_rms",
        "stabilised": "clip_by_update_rms",
    },
}
NAMES = [
    pytest.param(module, old, new, id=f"{module.__name__}.{old}")
    for module, names in RENAMED.items()
    for old, new in names.items()
]


@pytest.mark.quick
@pytest.mark.parametrize(("module", "old", "new"), NAMES)
def test_a_former_name_warns_and_works(module: types.ModuleType, old: str, new: str) -> None:
    path = module.__name__
    text = rf"^{path}\.{old} is now {path}\.{new}; the old name will be removed in 0\.3$"
    with pytest.warns(FutureWarning, match=text):
        found = getattr(module, old)
    assert found is getattr(module, new)


@pytest.mark.parametrize("module", list(RENAMED), ids=lambda module: module.__name__)
def test_a_name_that_never_was_is_an_attribute_error(module: types.ModuleType) -> None:
    with pytest.raises(AttributeError, match=f"module '{module.__name__}' has no attribute 'no'"):
        module.no  # noqa: B018


def test_former_names_are_not_listed() -> None:
    for module, names in RENAMED.items():
        assert not set(names) & set(dir(module))
