"""Group the leaves of a tree by all that is decided by path: rule, storage, layers, rates."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
from jax import Array

from adam_optax._core.by_path import FROZEN, ByPath, Hyperparameter, IsLeaf, value_key
from adam_optax._core.types import PyTree, ScalarOrSchedule
from adam_optax.rules.base import Recipe, Rule, at_path, moments_with_scheduled_decay
from adam_optax.storage._base import Frame
from adam_optax.storage._plan import NOTHING, LeafStorage, Slot, StoragePlan


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
    """Say how the leaves of a group take their step.

    Attributes:
        rule: the variant, with the hyper-parameters of the group.
        storage: how the moments are kept.
        layers: how many leading axes are layers, each of which is a leaf by itself.
        learning_rate: the learning rate; None for none.
        weight_decay: the weight decay; None for none.
        frozen: whether the parameters stay as they are.
        scheduled: the moments of whose decay rates the state keeps the product, with the names of
            these products in the state.
        frames: the names of the storage's slots whose codes have a frame, with the names of these
            frames in the state.
        recipe: how to build the rule inside a compiled step.
    """

    rule: Rule
    storage: LeafStorage
    layers: int = 0
    learning_rate: ScalarOrSchedule | None = None
    weight_decay: ScalarOrSchedule | None = None
    frozen: bool = False
    scheduled: dict[str, str] = dataclasses.field(default_factory=dict)
    frames: dict[str, str] = dataclasses.field(default_factory=dict)
    recipe: Recipe = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "recipe", self.rule.recipe())

    def own_log_decays(self, kept: Mapping[str, Array]) -> dict[str, Array]:
        """Return this group's log decays of those in a state, by moment."""
        return {name: kept[entry] for name, entry in self.scheduled.items()}

    def own_frames(self, kept: Mapping[str, Frame]) -> dict[str, Frame]:
        """Return this group's frames of those in a state, by slot; Flax may have wrapped them."""
        return {name: tuple(jax.tree.leaves(kept[entry])) for name, entry in self.frames.items()}


def _framed(storage: LeafStorage) -> list[Slot]:
    return [slot for slot in storage.slots if slot.format.has_frame]


@dataclasses.dataclass(frozen=True, eq=False)
class Grouping:
    """Give every leaf its group.

    Attributes:
        rule: the variant, whose hyper-parameters may be by path.
        plan: which storage a leaf has.
        learning_rate: a number, an array, a schedule, or these by path; None for none.
        weight_decay: the same.
        layers: how many leading axes of a leaf are layers, by path; None: of no leaf any.
        recipe: how to build the rule, but for its numbers by path.
        uniform: the group of every leaf; None if leaves differ.
    """

    rule: Rule
    plan: StoragePlan
    learning_rate: Hyperparameter | None = None
    weight_decay: Hyperparameter | None = None
    layers: ByPath | None = None
    recipe: Recipe = dataclasses.field(init=False)
    uniform: Group | None = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "recipe", self.rule.recipe())
        one = None
        rate, decay = self.learning_rate, self.weight_decay
        differ = self.layers or self.rule.by_path or isinstance(rate, ByPath)
        if self.plan.uniform and not (differ or isinstance(decay, ByPath)):
            scheduled = {n: n for n in moments_with_scheduled_decay(self.rule)}
            rates: dict[str, Any] = {"learning_rate": rate, "weight_decay": decay}
            frames = {slot.name: slot.name for slot in _framed(self.plan.uniform)}
            one = Group(self.rule, self.plan.uniform, scheduled=scheduled, frames=frames, **rates)
        object.__setattr__(self, "uniform", one)

    def of_leaves(
        self, tree: PyTree, is_leaf: IsLeaf = None, is_whole: bool = False
    ) -> list[Group]:
        """Return the group of every leaf; leaves of one group have one object.

        Args:
            tree: the parameters, or gradients of their shapes.
            is_leaf: what else is a leaf.
            is_whole: whether the tree is that of `tx.init`, in which every expression must match.
        """
        leaves = jax.tree.leaves(tree, is_leaf=is_leaf)
        if self.uniform is not None:
            return [self.uniform] * len(leaves)

        def spread(value: Any) -> list[Any]:
            if isinstance(value, ByPath):
                return value.resolve(tree, is_leaf, is_whole)
            return [value] * len(leaves)

        numbers = {n: spread(value) for n, value in self.rule.by_path.items()}
        columns = zip(
            leaves,
            self.plan.of_leaves(tree, is_leaf, is_whole),
            spread(0 if self.layers is None else self.layers),
            spread(self.learning_rate),
            spread(self.weight_decay),
            strict=True,
        )
        groups: dict[object, Group] = {}
        rules: dict[object, tuple[Rule, int]] = {}
        framed: dict[str, list[object]] = {}
        found = []
        for i, (leaf, storage, layers, rate, decay) in enumerate(columns):
            own = {n: column[i] for n, column in numbers.items()}
            frozen = leaf is None or rate is FROZEN
            which = tuple(map(value_key, own.values()))
            key = (
                ("frozen",)
                if frozen
                else (which, id(storage), layers, value_key(rate), value_key(decay))
            )
            if key not in groups:
                if frozen:
                    groups[key] = Group(self.rule, NOTHING, frozen=True)
                else:
                    if which not in rules:
                        rules[which] = at_path(self.rule, own), len(rules)
                    rule, k = rules[which]
                    suffix = f"_{k}" if own else ""
                    scheduled = {n: n + suffix for n in moments_with_scheduled_decay(rule)}
                    frames = {}
                    for slot in _framed(storage):  # of another rule or format, another frame
                        known = framed.setdefault(slot.name, [])
                        if (k, slot.format) not in known:
                            known.append((k, slot.format))
                        number = known.index((k, slot.format))
                        frames[slot.name] = f"{slot.name}_{number}" if number else slot.name
                    groups[key] = Group(
                        rule, storage, layers, rate, decay, scheduled=scheduled, frames=frames
                    )
            found.append(groups[key])
        return found
