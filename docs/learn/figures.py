"""Draw the figures of the pages in docs/learn from what the code on the pages computes.

    python -m docs.learn.figures            # all figures, into docs/learn/figures/
    python -m docs.learn.figures adam       # one of them

Each function of `figures_of_optimizers` and `figures_of_practice` has the name of a page. The
page's code blocks are run, and the function draws what they have computed, by variables and
functions of the page.
"""

import pathlib
import sys

import matplotlib.pyplot as plt

from docs.learn import (
    drawing,
    figures_of_optimizers,  # noqa: F401  # it and the next register their drawings
    figures_of_practice,  # noqa: F401
)


def main(wanted: list[str], also: str = "") -> None:
    """Draw the wanted figures, or all; `also` names a folder for PNG files to look at."""
    with plt.rc_context(drawing.LOOK):
        for name, draw in drawing.FIGURES.items():
            if wanted and name not in wanted:
                continue
            draw(drawing.run_page(name))
            path = drawing.HERE / "figures" / f"{name}.svg"
            plt.savefig(path, metadata={"Date": None})
            path.write_text(drawing.shorten(path.read_text()))
            if also:
                plt.savefig(pathlib.Path(also) / f"{name}.png", dpi=96)
            plt.close("all")
            print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    folders = [a.removeprefix("--png=") for a in sys.argv[1:] if a.startswith("--png=")]
    main([a for a in sys.argv[1:] if not a.startswith("--")], *folders)
