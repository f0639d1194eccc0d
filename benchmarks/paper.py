"""Check the Adam paper's claims against the committed runs: `python -m benchmarks.paper`.

`docs/measured/paper.md` has the table. The runs are those of `adam-optax reproduce`: the CSV files
in `adam_optax/lab/paper/results`. All of it is made anew, with three judging seeds and intervals,
in two hours of an idle core (that page says which figure takes how much of it):

    for figure in figure1 figure2 figure3 figure4; do
        adam-optax reproduce $figure --data-dir data --seeds 3
    done

Then copy each `reproduce-figure*.csv` to `adam_optax/lab/paper/results` and each PNG to
`notebooks/figures`, paste what this prints between its marks in `docs/measured/paper.md`, and run
the notebook `adam-paper`, whose text and asserted verdicts are of the runs.
"""

from adam_optax.lab.paper.claims import claims
from adam_optax.lab.paper.committed import RESULTS
from adam_optax.lab.paper.figures import FIGURES
from adam_optax.lab.paper.report import read


def rows() -> list[str]:
    """Return a line of Markdown for each claim."""
    return [
        f"| {claim.text} | {claim.verdict} | {claim.measured} |"
        for name in FIGURES
        for claim in claims(name, read(RESULTS / f"reproduce-{name}.csv"))
    ]


if __name__ == "__main__":
    print("\n".join(rows()))
