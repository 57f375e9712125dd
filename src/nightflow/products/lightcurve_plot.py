"""A light curve as a figure that can go into a paper."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nightflow.fits_output import replacing
from nightflow.flags import INCOMPLETE
from nightflow.lightcurves.light_curve import LightCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw", "plot", "shown"]

_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Wong 2011, Nature Methods 8, 441: told apart by the colour-blind."""
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_DPI = 200
_FAINT = 0.45
"""Opacity of error bars: where many points lie side by side, the points are what is seen."""
_EMPTY = 0.5
"""Of a cycle without a point, beyond which a folded curve is drawn once, as wide as its points."""
_VECTORS = frozenset({"pdf", "svg"})
"""Endings of files whose figures have no pixels."""
_TITLE = 80
"""Characters of a title or a filter name that are shown."""
_NO_SIGN = "\ufffd"
"""For what the font does not have."""


@dataclass(frozen=True)
class _Panel:
    value: str
    error: str
    label: str
    magnitudes: bool


_PANELS = {
    "diff_mag": _Panel("diff_mag", "diff_mag_err", "Differential magnitude (mag)", True),
    "mag": _Panel("mag", "mag_err", "Magnitude", True),
    "flux": _Panel("flux", "flux_err", "Flux (electrons/s)", False),
}


def plot(
    curve: LightCurve,
    path: Path,
    *,
    title: str = "",
    value: str | None = None,
    period: float | None = None,
    epoch: float | None = None,
) -> None:
    """Draw a light curve into a file; a file of that name is replaced at once or not at all.

    Parameters
    ----------
    curve : LightCurve
        May be empty: the figure then says so.
    path : Path
        A PDF or SVG where its name ends so; else a PNG.
    title : str
        Shown as text, whatever stands in it.
    value : {"diff_mag", "mag", "flux"}, optional
        What to draw; else the first of these that the curve has.
    period : float, optional
        Days, above 0: two cycles are drawn against the phase; where the points cover less than half of one,
        as those of a transit do, only the part that they cover, around phase 0 if that is in it.
    epoch : float, optional
        Time of phase 0, in the times of the curve; else that of the first point.
    """
    figure = draw(curve, title=title, value=value, period=period, epoch=epoch)
    ending = path.suffix.lower().lstrip(".")
    with replacing(path) as temporary:
        figure.savefig(temporary, format=ending if ending in _VECTORS else "png", dpi=_DPI)


def draw(
    curve: LightCurve,
    *,
    title: str = "",
    value: str | None = None,
    period: float | None = None,
    epoch: float | None = None,
) -> Figure:
    """Return the figure that `plot` writes: points with unusable pixels are open, upper limits are carets."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import; most commands draw nothing
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    panel = _PANELS[value or _best(curve)]
    limits = np.isfinite(curve["upper_limit"]) & (panel.value == "mag")
    time, offset, label = _time(curve)
    copies, span = [time - offset], None
    if period is not None:
        phase, label = _phase(time, label, period, epoch)
        copies, span = _cycles(phase)
    for index, name in enumerate(sorted(set(curve["filter"].tolist()))):
        for number, abscissa in enumerate(copies):
            _draw_filter(axes, curve, panel, abscissa, name, index, limits, named=number == 0)
    axes.set_xlabel(label)
    if span is not None:
        axes.set_xlim(*span)
    # A band's name is text of others.
    axes.set_ylabel(_label(curve, panel), parse_math=False)
    # Titles and filter names are text of others: a dollar sign begins no formula.
    axes.set_title(shown(title), parse_math=False)
    _scale(axes, curve, panel, limits)
    _finish(axes)
    return figure


def _best(curve: LightCurve) -> str:
    if np.isfinite(curve["upper_limit"]).any():
        return "mag"
    return next((name for name in _PANELS if np.isfinite(curve[name]).any()), "flux")


def _time(curve: LightCurve) -> tuple[NDArray[np.float64], float, str]:
    """Return the times, the day to subtract and the label of the axis."""
    barycentric = bool(np.isfinite(curve["bjd_tdb"]).any())
    time = curve["bjd_tdb"] if barycentric else curve["mjd_mid"]
    name = r"BJD$_{\rm TDB}$" if barycentric else "MJD (UTC)"
    known = time[np.isfinite(time)]
    offset = float(np.floor(known.min())) if len(known) else 0.0
    return time, offset, f"{name} $-$ {offset:.0f}"


def _phase(
    time: NDArray[np.float64], label: str, period: float, epoch: float | None
) -> tuple[NDArray[np.float64], str]:
    """Return the phases, 0 to 1, and the label of the axis, which names period and epoch."""
    if not period > 0:
        raise ValueError(f"period {period}: must be above 0 days")
    known = time[np.isfinite(time)]
    zero = epoch if epoch is not None else float(known.min()) if len(known) else 0.0
    scale = label.partition(" $-$")[0]
    return ((time - zero) / period) % 1.0, f"Phase (P = {period:.8g} d, phase 0 at {scale} {zero:.5f})"


def _cycles(phase: NDArray[np.float64]) -> tuple[list[NDArray[np.float64]], tuple[float, float]]:
    """Return the phases once or twice, and the ends of the axis."""
    known = np.sort(phase[np.isfinite(phase)])
    gaps = np.diff(np.append(known, known[:1] + 1.0))
    if len(np.unique(known)) < 2 or gaps.max() <= _EMPTY:
        return [phase, phase + 1.0], (0.0, 2.0)
    last = int(np.argmax(gaps))
    first = float(known[(last + 1) % len(known)])
    width = 1.0 - float(gaps[last])
    # Phase 0 is where the user has put what is to be seen: 0.9 to 1.1 are -0.1 to 0.1.
    start = first - 1.0 if first + width > 1.0 else first
    margin = 0.05 * width
    return [(phase - first) % 1.0 + start], (start - margin, start + width + margin)


def _label(curve: LightCurve, panel: _Panel) -> str:
    """Return what the ordinate is; of magnitudes with the system and the band, where all have the same."""
    if panel.value != "mag":
        return panel.label
    calibrated = np.isfinite(curve["mag"]) | np.isfinite(curve["upper_limit"])
    systems = {
        f"{system} {band}"
        for system, band in zip(curve["mag_system"][calibrated], curve["zp_band"][calibrated], strict=True)
        if system
    }
    return f"{panel.label} ({shown(systems.pop())})" if len(systems) == 1 else f"{panel.label} (mag)"


def _draw_filter(
    axes: Axes,
    curve: LightCurve,
    panel: _Panel,
    time: NDArray[np.float64],
    name: str,
    index: int,
    limits: NDArray[np.bool_],
    *,
    named: bool = True,
) -> None:
    from matplotlib.colors import to_rgba
    from matplotlib.markers import CARETDOWN

    ours = (curve["filter"] == name) & np.isfinite(time) & np.isfinite(curve[panel.value]) & ~limits
    flagged = (curve["flags"] & int(INCOMPLETE)) != 0
    color, marker = _COLORS[index % len(_COLORS)], _MARKERS[index % len(_MARKERS)]
    style: dict[str, Any] = {"color": color, "marker": marker, "markersize": 4.5}
    for rows, face, label in (
        (ours & ~flagged, color, shown(name) or "no filter"),
        (ours & flagged, "none", f"{shown(name) or 'no filter'}, unusable pixels"),
    ):
        if rows.any():
            axes.errorbar(
                time[rows],
                curve[panel.value][rows],
                yerr=np.nan_to_num(curve[panel.error][rows]),
                linestyle="none",
                elinewidth=0.8,
                ecolor=to_rgba(color, _FAINT),
                capsize=0,
                markerfacecolor=face,
                markeredgewidth=0.9,
                label=label if named else None,
                **style,
            )
    rows = (curve["filter"] == name) & np.isfinite(time) & limits
    if rows.any():
        axes.plot(
            time[rows],
            curve["upper_limit"][rows],
            linestyle="none",
            color=color,
            marker=CARETDOWN,
            markersize=6.0,
            label=f"{shown(name) or 'no filter'}, fainter than" if named else None,
        )


def _scale(axes: Axes, curve: LightCurve, panel: _Panel, limits: NDArray[np.bool_]) -> None:
    """Let the points that carry light, and all limits, set the scale, with brighter up.

    A neighbour in the aperture makes no point worthless; a saturated or hit one may lie anywhere.
    """
    value = np.where(limits, curve["upper_limit"], curve[panel.value])
    error = np.where(limits, 0.0, np.nan_to_num(curve[panel.error]))
    good = np.isfinite(value) & (limits | ((curve["flags"] & int(INCOMPLETE)) == 0))
    rows = good if good.sum() > 1 else np.isfinite(value)
    if rows.any():
        low, high = float((value - error)[rows].min()), float((value + error)[rows].max())
        margin = 0.08 * (high - low) or 0.01
        axes.set_ylim(low - margin, high + margin)
    if panel.magnitudes:
        axes.invert_yaxis()


def shown(text: str) -> str:
    """Return text of others in one line of a length that fits, without signs that cannot be drawn."""
    drawn = _drawn()
    printable = "".join(
        " " if not character.isprintable() else character if ord(character) in drawn else _NO_SIGN
        for character in text[: _TITLE + 1]
    )
    return printable if len(printable) <= _TITLE else printable[: _TITLE - 1] + "\u2026"


@cache
def _drawn() -> frozenset[int]:
    """Return the signs that the font has; of others matplotlib would warn each time."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return frozenset(get_font(findfont(FontProperties())).get_charmap())


def _finish(axes: Axes) -> None:
    axes.tick_params(direction="in", which="both", top=True, right=True)
    axes.minorticks_on()
    handles, labels = axes.get_legend_handles_labels()
    if not handles:
        axes.text(0.5, 0.5, "no measurements", transform=axes.transAxes, ha="center", va="center")
        return
    figure = axes.get_figure(root=True)
    assert figure is not None
    # Below the axes, where it can hide no point.
    legend = figure.legend(
        handles, labels, frameon=False, fontsize="small", loc="outside lower center", ncols=4
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
