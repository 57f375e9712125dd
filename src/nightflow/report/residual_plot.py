"""The stars of a WCS and by how much they are off: a map, and against magnitude and radius."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nightflow.report.residuals import FrameResiduals

__all__ = ["draw_residuals", "residual_png"]

Array = NDArray[np.float64]

_BLUE, _ORANGE = "#0072B2", "#D55E00"
_DPI = 110
_ARROW = 0.09
"""Length of the arrow of the key, in units of the frame's larger side."""
_KEY_ABOVE = 0.022
"""Of the key above the map, in units of the map's larger side."""
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_BINS = 6
_FEWEST_IN_BIN = 3
_LONGEST = 100


def residual_png(frame: FrameResiduals) -> bytes:
    """Return the picture as PNG; the same numbers give the same bytes."""
    picture = io.BytesIO()
    draw_residuals(frame).savefig(picture, format="png", dpi=_DPI, metadata={"Software": "nightflow"})
    return picture.getvalue()


def draw_residuals(frame: FrameResiduals) -> Figure:
    """Return the figure that `residual_png` writes."""
    figure = Figure(figsize=(11.0, 6.0), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplot_mosaic("AAB;AAC", width_ratios=(1.0, 1.0, 1.05))
    _draw_map(panels["A"], frame)
    radius = np.hypot(frame.x - (frame.shape[1] - 1) / 2.0, frame.y - (frame.shape[0] - 1) / 2.0)
    radius /= 0.5 * float(np.hypot(*frame.shape))
    _draw_against(panels["B"], frame.mag, frame.radial, "Catalogue magnitude")
    _draw_against(panels["C"], radius, frame.radial, "Distance from the middle (1: corner)")
    panels["C"].set_xlim(0.0, 1.0)
    panels["A"].set_title("residuals", fontsize="small", loc="left")
    figure.suptitle(_plain(frame.title), fontsize="medium", parse_math=False)
    caption = "   ".join(f"{name} {value}" for name, value in frame.facts.items())
    figure.supxlabel(caption, fontsize="small", parse_math=False)
    return figure


def _draw_map(axes: Axes, frame: FrameResiduals) -> None:
    ny, nx = frame.shape
    if len(frame.x):
        _draw_arrows(axes, frame)
    for (at_x, at_y, ha, va), error in zip(_corners(nx, ny), frame.corner_errors_arcsec, strict=True):
        if np.isfinite(error):
            axes.text(
                at_x, at_y, f'\u00b1{error:.3f}"', ha=ha, va=va, fontsize="small", color=_ORANGE,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1.5},
            )  # fmt: skip
    axes.set(xlim=(-0.5, nx - 0.5), ylim=(-0.5, ny - 0.5), aspect="equal", xlabel="x (px)", ylabel="y (px)")


def _draw_arrows(axes: Axes, frame: FrameResiduals) -> None:
    length = float(np.median(np.hypot(frame.dx, frame.dy)))
    key = next((one for one in _STEPS if one >= 2.0 * length * frame.scale), _STEPS[-1])
    per_pixel = key / frame.scale / (_ARROW * max(frame.shape))
    arrows = axes.quiver(
        frame.x, frame.y, frame.dx, frame.dy, angles="xy", scale_units="xy", scale=per_pixel,
        color=_BLUE, width=0.0025, headwidth=4, pivot="tail",
    )  # fmt: skip
    axes.plot(frame.x, frame.y, ".", markersize=2.0, color="#444444")
    ny, nx = frame.shape
    above = 1.0 + _KEY_ABOVE * max(1.0, nx / ny)
    axes.quiverkey(arrows, 0.91, above, key / frame.scale, f'{key:g}"', labelpos="E", coordinates="axes")


def _corners(nx: int, ny: int) -> list[tuple[float, float, str, str]]:
    off = 0.012 * max(nx, ny)
    left, right, low, high = off, nx - 1 - off, off, ny - 1 - off
    return [
        (left, low, "left", "bottom"),
        (right, low, "right", "bottom"),
        (left, high, "left", "top"),
        (right, high, "right", "top"),
    ]


def _draw_against(axes: Axes, values: Array, radial: Array, label: str) -> None:
    axes.plot(values, radial, ".", markersize=3.5, color=_BLUE, alpha=0.6)
    at, rms = _binned(values, radial)
    axes.plot(at, rms, "o-", color=_ORANGE, markersize=4, linewidth=1.3, label="rms")
    axes.set(xlabel=label, ylabel="Off by (arcsec)")
    axes.set_ylim(0.0, 1.15 * float(np.max(radial, initial=1e-3)))
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize="small", loc="upper left")


def _binned(values: Array, radial: Array) -> tuple[Array, Array]:
    """Return middles and rms of bins with as many stars each."""
    order = np.argsort(values, kind="stable")
    order = order[np.isfinite(values[order])]
    bins = [
        part for part in np.array_split(order, min(_BINS, max(len(order) // _FEWEST_IN_BIN, 1))) if len(part)
    ]
    at = np.array([np.median(values[part]) for part in bins])
    return at, np.array([np.sqrt(np.mean(radial[part] ** 2)) for part in bins])


def _plain(text: str) -> str:
    shown = "".join(character for character in text if " " <= character <= "~")
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 3] + "..."
