"""Cite the papers behind an optimiser that a user composed; their BibTeX is in `papers.bib`."""

import functools
import importlib.resources
from collections.abc import Iterator, Mapping
from typing import Any

import optax

from adam_optax._engine.tree import Engine
from adam_optax._optax_interop import find_tags
from adam_optax.storage._factored import Factored

PAPERS: Mapping[str, tuple[str, ...]] = {
    "acprop": ("zhuang2021momentum",),
    "adabelief": ("zhuang2020adabelief",),
    "adabound": ("luo2019adaptive",),
    "adadelta": ("zeiler2012adadelta",),
    "adafactor": ("shazeer2018adafactor",),
    "adagc": ("wang2025adagc",),
    "adagrad": ("duchi2011adaptive",),
    "adam": ("kingma2015adam",),
    "adam_atan2": ("kingma2015adam", "everett2024scaling"),
    "adam_mini": ("zhang2025adam",),
    "adamax": ("kingma2015adam",),
    "adamh": ("kingma2015adam", "wen2026fantastic"),
    "adamp": ("heo2021adamp",),
    "adan": ("xie2024adan",),
    "ademamix": ("pagliardini2025ademamix",),
    "adopt": ("taniguchi2024adopt",),
    "amsgrad": ("reddi2018convergence",),
    "came": ("luo2023came",),
    "capped_adafactor": ("shazeer2018adafactor", "zhai2022scaling"),
    "clip_by_block_rms": ("shazeer2018adafactor",),
    "clip_by_global_norm": ("pascanu2013difficulty",),
    "constant_adam": ("kingma2015adam",),
    "fading_adam": ("kingma2015adam",),
    "grams": ("cao2024grams",),
    "kahan": ("kahan1965further", "zamirai2020revisiting"),
    "lamb": ("you2020large",),
    "laprop": ("ziyin2020laprop",),
    "lion": ("chen2023symbolic",),
    "mars": ("yuan2024mars",),
    "mars_correction": ("yuan2024mars",),
    "mars_lion": ("yuan2024mars",),
    "momentum": ("polyak1964methods",),
    "novograd": ("ginsburg2019stochastic",),
    "qhadam": ("ma2019quasi",),
    "radam": ("liu2020variance",),
    "rmsprop": ("tieleman2012lecture",),
    "scheduled_nadam": ("kingma2015adam", "dozat2016incorporating"),
    "simplified_ademamix": ("morwani2025connections",),
    "simplified_nadam": ("kingma2015adam", "dozat2016incorporating", "choi2019empirical"),
    "split_master": ("micikevicius2018mixed",),
    "stable_adam": ("wortsman2023stable",),
    "stochastic_rounding": ("zamirai2020revisiting",),
    "temporal_average": ("kingma2015adam",),
    "uncorrected_adam": ("kingma2015adam",),
    "yogi": ("zaheer2018adaptive",),
    "zclip": ("kumar2025zclip",),
}
"""The BibTeX keys of the papers of each rule and of each other transformation, by name."""

OPTION_PAPERS: Mapping[str, str] = {
    "nesterov": "dozat2016incorporating",
    "centered": "graves2013generating",
    "correct_nu": "stjohn2021adamd",
}
"""The BibTeX key of the paper of a rule's option, which is cited if the option is set."""

DECAY_PAPERS: Mapping[str, str] = {
    "decoupled": "loshchilov2019decoupled",
    "corrected": "defazio2025gradients",
    "cautious": "chen2025cautious",
}
"""The BibTeX key of the paper of each kind of weight decay."""


def citation(tx: optax.GradientTransformation) -> str:
    """Return BibTeX of the papers that an optimiser is made of, through chains and wrappers.

    Use it for the references of a paper or a report about a training run.

    Args:
        tx: an optimiser of this library, or any optax transformation around some.

    Returns:
        The entries, each once, in the order of the links; for a rule of your own, a comment.

    Raises:
        ValueError: if no transformation of this library is found in `tx`.

    >>> import optax, adam_optax as ao
    >>> tx = optax.chain(ao.clip_by_global_norm(1.0), ao.nadamw(1e-3))
    >>> [line for line in ao.citation(tx).splitlines() if line.startswith("@")][-2:]
    ['@inproceedings{dozat2016incorporating,', '@inproceedings{loshchilov2019decoupled,']
    """
    tags = find_tags(tx)
    if not tags:
        raise ValueError(
            "nothing of adam_optax is in this transformation; optax.inject_hyperparams hides what "
            "it makes: cite the optimiser that it is given"
        )
    keys = dict.fromkeys(key for tag in tags for key in _keys(tag))
    entries = bibtex_entries()
    return "\n\n".join(key if key.startswith("%") else entries[key] for key in keys)


@functools.cache
def bibtex_entries() -> Mapping[str, str]:
    """Return the entries of `papers.bib`, which are parted by empty lines, by key."""
    text = importlib.resources.files(__package__).joinpath("papers.bib").read_text("utf-8")
    entries = text.strip().split("\n\n")
    return {entry.partition("{")[2].partition(",")[0]: entry for entry in entries}


def _keys(tag: Any) -> Iterator[str]:
    """Yield the keys of a transformation's papers, given what its `update` was tagged with."""
    if not isinstance(tag, Engine):
        yield from PAPERS.get(tag, ())
        return
    rule, coupling = tag.rule, tag.coupling
    yield from PAPERS.get(rule.name, (f"% {rule.name}: no paper",))
    given = rule.origin.hyperparams if rule.origin else {}
    yield from (key for option, key in OPTION_PAPERS.items() if given.get(option))
    plan = tag.grouping.plan
    slots = plan.uniform.slots if plan.uniform else ()
    if any(isinstance(slot.format, Factored) for slot in slots):
        yield from PAPERS["adafactor"]
    if tag.grouping.weight_decay is not None:
        yield DECAY_PAPERS["decoupled"]
        if coupling.power == 2:
            yield DECAY_PAPERS["corrected"]
        if coupling.cautious:
            yield DECAY_PAPERS["cautious"]
