"""Cite the papers behind what a user composed."""

from collections.abc import Iterator
from typing import Any

from adam_optax._engine.tree import Engine
from adam_optax._optax_interop import find_tags
from adam_optax._wrappers import papers
from adam_optax.storage._factored import Factored


def citation(tx: Any) -> str:
    """Return BibTeX of the papers that an optimiser is made of, through chains and wrappers.

    Args:
        tx: an optimiser of this library, or any optax transformation around some.

    Returns:
        The entries, each once, in the order of the links; for a rule of your own, a comment.

    Raises:
        ValueError: if nothing of this library is found in it.

    >>> import optax, adam_optax as ao
    >>> tx = optax.chain(ao.clip_by_global_norm(1.0), ao.nadamw(1e-3))
    >>> [line for line in ao.citation(tx).splitlines() if line.startswith("@")][-2:]
    ['@inproceedings{dozat2016incorporating,', '@inproceedings{loshchilov2019decoupled,']
    """
    found = find_tags(tx)
    if not found:
        raise ValueError(
            "nothing of adam_optax is in this transformation; optax.inject_hyperparams hides what "
            "it makes: cite the optimiser that it is given"
        )
    keys = dict.fromkeys(key for part in found for key in _keys(part))
    return "\n\n".join(papers.bibtex(key) for key in keys)


def _keys(part: Any) -> Iterator[str]:
    if not isinstance(part, Engine):
        yield from papers.OF.get(part, ())
        return
    rule, coupling = part.rule, part.coupling
    yield from papers.OF.get(rule.name, (f"% {rule.name}: no paper",))
    given = rule.origin.hyperparams if rule.origin else {}
    yield from (key for n, key in papers.OPTIONS.items() if given.get(n))
    slots = part.plan.uniform.slots if part.plan.uniform else ()
    if any(isinstance(slot.format, Factored) for slot in slots):
        yield from papers.OF["adafactor"]
    if part.decays:
        yield "loshchilov2019decoupled"
        yield from ["defazio2025gradients"] if coupling.power == 2 else []
        yield from ["chen2025cautious"] if coupling.cautious else []
