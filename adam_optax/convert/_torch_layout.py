"""What a `state_dict` of PyTorch looks like: groups, names, and what each optimizer keeps."""

from collections.abc import Mapping, Sequence
from typing import Any

from adam_optax.convert._errors import ConversionError, listed
from adam_optax.convert._names import ordered

_ADAM = {"exp_avg": "mu", "exp_avg_sq": "nu"}
LAYOUTS: dict[str, dict[str, str]] = {
    "Adam": _ADAM,
    "Adam(amsgrad=True)": {**_ADAM, "max_exp_avg_sq": "nu_max"},
    "NAdam": {**_ADAM, "mu_product": "product"},
    "RAdam": _ADAM,
    "Adamax": {"exp_avg": "mu", "exp_inf": "nu"},
}
KNOWN = "Adam, AdamW, NAdam, RAdam and Adamax"
_ORDER = "order=[name for name, _ in model.named_parameters()]"


def parts(state_dict: Any) -> tuple[list[Mapping[str, Any]], Mapping[Any, Any]]:
    """The groups of parameters and the states by index of a `state_dict`."""
    try:
        groups, kept = list(state_dict["param_groups"]), state_dict["state"]
        if isinstance(kept, Mapping) and all(map(_is_group, groups)):
            return groups, kept
    except (KeyError, TypeError, IndexError):
        pass
    keys = f" with {listed(map(str, state_dict))}" if isinstance(state_dict, Mapping) else ""
    raise ConversionError(
        f"a PyTorch optimizer's state_dict has 'state' and 'param_groups', this is a "
        f"{type(state_dict).__name__}{keys}; of a checkpoint, take the optimizer's part, such as "
        "checkpoint['optimizer']"
    )


def _is_group(group: Any) -> bool:
    """Parameters as PyTorch has them, numbers or names, and what it calls them, if it does."""
    names = group.get("param_names", []) if isinstance(group, Mapping) else None
    if not isinstance(names, list | tuple) or not all(isinstance(n, str) for n in names):
        return False
    ids = group.get("params")
    return isinstance(ids, list | tuple) and all(isinstance(i, int | str) for i in ids)


def ids_by_name(groups: list[Mapping[str, Any]], order: Sequence[str] | None) -> dict[str, Any]:
    """The keys of the states by parameter name."""
    ids = [i for group in groups for i in group["params"]]
    recorded = [name for group in groups for name in group.get("param_names", ())]
    if all(isinstance(i, str) for i in ids):  # as torch.distributed gathers them
        recorded = ids
    if len(recorded) != len(ids) or len(set(recorded)) != len(ids):
        recorded = ordered(order, len(ids), _ORDER)
    elif order is not None and list(order) != recorded:
        raise ConversionError(
            f"order differs from the names that PyTorch recorded ({listed(recorded)}); leave it out"
        )
    return dict(zip(recorded, ids, strict=True))


def layout(group: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """Which optimizer a group of parameters is of, by its options."""
    if "amsgrad" in group:
        name = "Adam(amsgrad=True)" if group["amsgrad"] else "Adam"
    elif "momentum_decay" in group:
        name = "NAdam"
    elif {"decoupled_weight_decay", "betas"} <= group.keys():
        name = "RAdam"
    elif {"betas", "weight_decay", "capturable"} <= group.keys():
        name = "Adamax"
    else:
        options = listed(sorted(group.keys() - {"params", "param_names"}))
        raise ConversionError(f"state_dict is not of one of {KNOWN}; its options are {options}")
    return name, LAYOUTS[name]
