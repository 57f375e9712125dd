"""The tracks of bodies that moved, as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nightflow.fits_output import replacing
from nightflow.lightcurves.motion import Plane, fit_line
from nightflow.products.lightcurve_plot import shown
from nightflow.store.movers import ObservedMover

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_movers", "plot_movers"]

_MOST = 12
"""Bodies in one figure."""
_DPI = 150
_EAST, _NORTH = "#0072B2", "#D55E00"


def plot_movers(bodies: Sequence[ObservedMover], path: Path) -> None:
    """Draw bodies into a PNG file, a row each: the path on the sky, and how far its places lie off the line.

    Parameters
    ----------
    bodies : sequence of ObservedMover
        The first twelve are drawn.
    path : Path
        A file of that name is replaced at once or not at all.
    """
    figure = draw_movers(bodies)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI)


def draw_movers(bodies: Sequence[ObservedMover]) -> Figure:
    """Return the figure that `plot_movers` writes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import; most commands draw nothing
    from matplotlib.figure import Figure

    drawn = list(bodies[:_MOST])
    rows = max(len(drawn), 1)
    figure = Figure(figsize=(8.0, 2.8 * rows + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, 2, squeeze=False)
    for body, (track, residual) in zip(drawn, panels, strict=True):
        _draw(body, track, residual)
    if len(bodies) > _MOST:
        figure.suptitle(f"the first {_MOST} of {len(bodies)} bodies", fontsize="medium")
    return figure


def _draw(body: ObservedMover, track: Axes, residual: Axes) -> None:
    mover, columns = body.mover, body.columns
    plane = Plane(mover.ra, mover.dec)
    x, y = plane.project(columns["ra"], columns["dec"])
    hours = (columns["mjd_mid"] - mover.mjd) * 24.0
    error = np.nan_to_num(np.asarray(columns["position_err"], float))
    line = fit_line(hours, x, y, np.maximum(error, 1e-3))
    line_x, line_y = line.at(hours)
    track.plot(*line.at(np.linspace(hours.min(), hours.max(), 60)), color="0.6", linewidth=1.0, zorder=1)
    points = track.scatter(x, y, c=hours, s=16, cmap="viridis", zorder=2)
    figure = track.get_figure(root=True)
    assert figure is not None
    figure.colorbar(points, ax=track, label="hours", pad=0.01)
    track.invert_xaxis()
    track.set_aspect("equal", adjustable="datalim")
    track.set_xlabel(r"$\Delta\alpha\,\cos\delta$ (arcsec)")
    track.set_ylabel(r"$\Delta\delta$ (arcsec)")
    rate = float(np.hypot(mover.rate_ra, mover.rate_dec))
    brightness = f", {mover.mag:.1f} mag" if mover.mag is not None else ""
    title = f'{shown(body.label)}: {rate:.2f} ± {mover.rate_ra_err:.2f} "/h, PA {mover.position_angle:.1f}°'
    track.set_title(title + brightness, fontsize="small", parse_math=False)
    for value, color, name in ((x - line_x, _EAST, "east"), (y - line_y, _NORTH, "north")):
        residual.errorbar(
            hours, value, yerr=error, fmt="o", markersize=3.5, color=color, label=name, elinewidth=0.8
        )
    residual.axhline(0.0, color="0.6", linewidth=0.8)
    residual.set_xlabel(f"hours from MJD {mover.mjd:.5f}")
    residual.set_ylabel("off the line (arcsec)")
    bent = ", bent" if line.is_curved else ""
    title = f'rms {line.rms:.2f}"{bent}; {mover.n} of {mover.n_frames} frames'
    residual.set_title(title, fontsize="small")
    # Beside the axes, where it can hide no point.
    residual.legend(
        frameon=False, fontsize="small", handlelength=1.0, loc="center left", bbox_to_anchor=(1.0, 0.5)
    )
    for axes in (track, residual):
        axes.tick_params(direction="in", top=True, right=True)
