"""How a night went, in one figure: seeing, zero point, sky and ellipticity against time."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_night", "night_png"]

Row = Mapping[str, Any]

_PANELS = (
    ("fwhm_px", "FWHM (px)"),
    ("zp", "Zero point (mag)"),
    ("sky", "Sky (electron/px)"),
    ("ellipticity", "Ellipticity"),
)
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Wong 2011, Nature Methods 8, 441: told apart by the colour-blind."""
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_DPI = 120
_LONGEST_NAME = 40


def night_png(rows: Sequence[Row], night: str) -> bytes:
    """Return the figure as PNG; the same rows give the same bytes.

    Parameters
    ----------
    rows : sequence of mapping
        Judged rows of a night, see `nightflow.report.night_table.with_verdicts`; its light frames are drawn,
        those that fail as open symbols.
    night : str
        Date of the evening.
    """
    picture = io.BytesIO()
    draw_night(rows, night).savefig(picture, format="png", dpi=_DPI, metadata={"Software": "nightflow"})
    return picture.getvalue()


def draw_night(rows: Sequence[Row], night: str) -> Figure:
    """Return the figure that `night_png` writes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import; most commands draw nothing
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 9.0), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(_PANELS), 1, sharex=True)
    lights = [row for row in rows if row["kind"] == "light" and row["mjd_mid"] is not None]
    start = float(np.floor(min((row["mjd_mid"] for row in lights), default=0.0)))
    for axes, (name, label) in zip(panels, _PANELS, strict=True):
        _draw_panel(axes, lights, name, start)
        axes.set_ylabel(label)
    panels[-1].set_xlabel(f"Hours (UTC) after MJD {start:.0f}")
    failed = sum(row["verdict"] == "fail" for row in lights)
    panels[0].set_title(f"Night of {night}: {len(lights)} light frames, {failed} failed")
    return figure


def _draw_panel(axes: Axes, lights: Sequence[Row], name: str, start: float) -> None:
    series = sorted({str(row["filter"]) for row in lights})
    for index, filter_name in enumerate(series):
        ours = [row for row in lights if str(row["filter"]) == filter_name and row[name] is not None]
        color, marker = _COLORS[index % len(_COLORS)], _MARKERS[index % len(_MARKERS)]
        for verdict, face in (("pass", color), ("fail", "none")):
            chosen = [row for row in ours if row["verdict"] == verdict]
            axes.plot(
                [24.0 * (row["mjd_mid"] - start) for row in chosen],
                [row[name] for row in chosen],
                linestyle="none",
                marker=marker,
                markersize=4.5,
                markeredgecolor=color,
                markerfacecolor=face,
                label=_shown(filter_name) if verdict == "pass" and chosen else None,
            )
    axes.grid(alpha=0.25)
    if len(series) > 1 and axes.get_legend_handles_labels()[1]:
        for text in axes.legend(frameon=False, fontsize="small").get_texts():
            # A filter's name is text of others: a dollar sign begins no formula.
            text.set_parse_math(False)


def _shown(name: str) -> str:
    plain = "".join(character for character in name if " " <= character <= "~")[:_LONGEST_NAME].lstrip("_")
    return plain or "no filter"
