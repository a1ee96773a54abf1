"""The style of every figure, and a figure that becomes a file."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from primus_jax.errors import PrimusError
from primus_jax.files import replace_file

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

# Okabe and Ito's colours, told apart with every common colour-vision deficiency; no yellow on white
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#333333")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK, FAINT = "#222222", "#8a8a8a"
STYLE: "dict[RcKeyType, Any]" = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "axes.edgecolor": "#555555",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "savefig.facecolor": "white",
}
DPI = 160
# Inches of a figure that a page of `reports.html` shows unscaled: 96 CSS pixels are an inch.
PAGE_INCHES = 9.9


def check_drawing(path: Path, seed: int) -> None:
    """Refuse a picture of chosen windows that cannot be drawn.

    Raises:
        PrimusError: a negative seed, or another kind of file than PNG.
    """
    if seed < 0:
        raise PrimusError(f"seed {seed}; expected a whole number from 0.")
    if path.suffix.lower() != ".png":
        raise PrimusError(f"{path}: expected the name of a PNG file.")


@contextlib.contextmanager
def figure_file(path: Path, size: tuple[float, float], *, svg: bool = False) -> Iterator[Figure]:
    """Yield a figure in this module's style that becomes the PNG `path` when the block ends.

    Args:
        path: the PNG.
        size: width and height in inches.
        svg: write the same figure as SVG beside it.
    """
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": path.stem}):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        with replace_file(path) as temporary:
            figure.savefig(temporary, dpi=DPI, format="png")
        if svg:
            with replace_file(path.with_suffix(".svg")) as temporary:
                figure.savefig(temporary, format="svg", metadata={"Date": None})
