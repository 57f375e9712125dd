"""Pointing, scale, rotation and rms of a night's frames in one figure."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nightflow.report.pointing import PointingSummary, summarise_pointing

__all__ = ["draw_pointing", "pointing_png"]

Row = Mapping[str, Any]

_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Wong 2011, Nature Methods 8, 441: told apart by the colour-blind."""
_DPI = 110
_LONGEST = 40
_SHOWN = 6
"""Chips that the legend names."""


def pointing_png(rows: Sequence[Row], night: str) -> bytes:
    """Return the figure as PNG; the same rows give the same bytes.

    Parameters
    ----------
    rows : sequence of mapping
        See `nightflow.report.pointing.pointing_rows`. After the meridian flip symbols are squares; what
        stands out has a ring.
    night : str
        Date of the evening.
    """
    picture = io.BytesIO()
    draw_pointing(rows, night).savefig(picture, format="png", dpi=_DPI, metadata={"Software": "nightflow"})
    return picture.getvalue()


def draw_pointing(rows: Sequence[Row], night: str) -> Figure:
    """Return the figure that `pointing_png` writes."""
    figure = Figure(figsize=(11.0, 8.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplot_mosaic("AB;AC;DE;FG", height_ratios=(1, 1, 1, 1), width_ratios=(1.0, 1.15))
    start = float(np.floor(min((row["mjd_mid"] for row in rows), default=0.0)))
    summaries = {(one.instrument, one.detector): one for one in summarise_pointing(rows)}
    for index, chip in enumerate(sorted(summaries)):
        ours = [row for row in rows if (row["instrument"], row["detector"]) == chip]
        color = _COLORS[index % len(_COLORS)]
        label = _plain(" ".join(filter(None, chip))) if index < _SHOWN else None
        _points(panels["A"], ours, "offset_ra", "offset_dec", color, label=label)
        for name, axes in (("offset_ra", panels["B"]), ("offset_dec", panels["C"])):
            _points(axes, ours, "hour_angle", name, color)
            _trend_line(axes, ours, summaries[chip], name, color)
        for name, axes, factor in (
            ("scale_change", panels["D"], 1e6),
            ("rotation_change", panels["E"], 60.0),
            ("wcs_rms_arcsec", panels["F"], 1.0),
            ("wcs_corner_err_arcsec", panels["G"], 1.0),
        ):
            _points(axes, ours, "hours", name, color, start=start, factor=factor)
    _name_axes(panels, start)
    if len(summaries) > 1:
        panels["A"].legend(frameon=False, fontsize="small")
    strange = sum(bool(row["outlier"]) for row in rows)
    figure.suptitle(f"Night of {night}: pointing and scale of {len(rows)} frames, {strange} stand out")
    return figure


def _name_axes(panels: Mapping[str, Axes], start: float) -> None:
    when = f"Hours (UTC) after MJD {start:.0f}"
    labels = {
        "A": ("Solved - header, RA cos(Dec) (arcsec)", "Solved - header, Dec (arcsec)"),
        "B": ("", "RA cos(Dec) (arcsec)"),
        "C": ("Hour angle (h)", "Dec (arcsec)"),
        "D": (when, "Scale, from median (ppm)"),
        "E": (when, "Rotation (arcmin)"),
        "F": (when, "Radial rms (arcsec)"),
        "G": (when, "Error, worst corner (arcsec)"),
    }
    for name, (across, up) in labels.items():
        panels[name].set(xlabel=across, ylabel=up)
        panels[name].grid(alpha=0.25)
        panels[name].ticklabel_format(useOffset=False)
    for name in ("F", "G"):
        top = max(
            (float(np.nanmax(line.get_ydata(), initial=0.0)) for line in panels[name].lines), default=0.0
        )
        panels[name].set_ylim(0.0, 1.2 * top or 1.0)
    panels["A"].set_aspect("equal", adjustable="datalim")
    for line in (panels["A"].axhline, panels["A"].axvline):
        line(0.0, color="#888888", linewidth=0.8)


def _points(
    axes: Axes,
    rows: Sequence[Row],
    across: str,
    up: str,
    color: str,
    *,
    label: str | None = None,
    start: float = 0.0,
    factor: float = 1.0,
) -> None:
    def x_of(row: Row) -> Any:
        return 24.0 * (row["mjd_mid"] - start) if across == "hours" else row[across]

    drawn = [row for row in rows if x_of(row) is not None and row[up] is not None]
    for turned, marker in ((False, "o"), (True, "s")):
        some = [row for row in drawn if row["turned"] is turned]
        axes.plot(
            [x_of(row) for row in some], [factor * row[up] for row in some], linestyle="none", marker=marker,
            markersize=4.0, color=color, alpha=0.8, label=label if not turned else None,
        )  # fmt: skip
    strange = [row for row in drawn if row["outlier"]]
    axes.plot(
        [x_of(row) for row in strange], [factor * row[up] for row in strange], linestyle="none", marker="o",
        markersize=9.0, markerfacecolor="none", markeredgecolor="#000000", markeredgewidth=1.0,
    )  # fmt: skip


def _trend_line(axes: Axes, rows: Sequence[Row], summary: PointingSummary, name: str, color: str) -> None:
    slope = summary.trend_ra if name == "offset_ra" else summary.trend_dec
    if not np.isfinite(slope):
        return
    for turned in (False, True):
        some = [row for row in rows if row["turned"] is turned and None not in (row["hour_angle"], row[name])]
        if len(some) < 2:
            continue
        hours = np.array([row["hour_angle"] for row in some])
        level = float(np.median([row[name] for row in some] - slope * hours))
        ends = np.array([hours.min(), hours.max()])
        axes.plot(ends, level + slope * ends, color=color, linewidth=1.0, alpha=0.8)


def _plain(text: str) -> str:
    return "".join(one for one in text if " " <= one <= "~").lstrip("_").replace("$", "")[:_LONGEST] or "?"
