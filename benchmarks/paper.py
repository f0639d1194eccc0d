"""Check the Adam paper's claims against the committed runs: `python -m benchmarks.paper`.

`docs/measured/paper.md` has the table. The runs are those of `adam-optax reproduce`: the CSV files
in `adam_optax/lab/paper/results`.
"""

from adam_optax.lab.paper.claims import claims
from adam_optax.lab.paper.committed import RESULTS
from adam_optax.lab.paper.figures import FIGURES
from adam_optax.lab.paper.report import read


def rows() -> list[str]:
    """Return a line of Markdown for each claim."""
    return [
        f"| {claim.text} | {'yes' if claim.holds else 'no'} | {claim.measured} |"
        for name in FIGURES
        for claim in claims(name, read(RESULTS / f"reproduce-{name}.csv"))
    ]


if __name__ == "__main__":
    print("\n".join(rows()))
