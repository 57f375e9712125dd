"""radec_off.png: whether the stars of all chips lie where the catalogue has them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import NDArray

from nightflow.astrometry.projection import to_plane
from nightflow.astrometry.scamp.offsets import Offsets
from nightflow.robust import robust_sigma

__all__ = ["draw_offsets", "offsets_png"]

Array = NDArray[np.float64]

_FITTED, _LEFT_OUT = "#0072B2", "#D55E00"
_DPI = 120
_SHOWN_SIGMAS = 6.0
_BOXES = 3
"""Arrows along each side of a chip."""
_FEWEST_FOR_ARROW = 3
_ARROWS_LENGTH = 0.06
"""Of an arrow as long as the stars scatter, in units of the field."""
_LONGEST_TITLE = 90
_MARGIN = 0.12
"""Inches."""


def offsets_png(offsets: Sequence[Offsets], title: str) -> bytes:
    """Return the figure as PNG; the same offsets give the same bytes.

    Parameters
    ----------
    offsets : sequence of Offsets
        One a chip and exposure.
    title : str
        What was solved; anybody's text.
    """
    picture = io.BytesIO()
    draw_offsets(offsets, title).savefig(picture, format="png", dpi=_DPI, metadata={"Software": "nightflow"})
    return picture.getvalue()


def draw_offsets(offsets: Sequence[Offsets], title: str) -> Figure:
    """Return the figure that `offsets_png` writes."""
    figure = Figure(figsize=(12.0, 6.0))
    figure.set_layout_engine("constrained", w_pad=_MARGIN, h_pad=_MARGIN)
    FigureCanvasAgg(figure)
    cloud, field = figure.subplots(1, 2, width_ratios=(1.0, 1.15))
    shown = [one for one in offsets if len(one)]
    figure.suptitle(title[:_LONGEST_TITLE], parse_math=False)
    if not shown:
        cloud.set_title("no chip was solved")
        return figure
    d_ra, d_dec = (np.concatenate([getattr(one, name) for one in shown]) for name in ("d_ra", "d_dec"))
    left_out = np.concatenate([one.left_out for one in shown])
    sigma = max(robust_sigma(d_ra), robust_sigma(d_dec), 0.1)
    _draw_cloud(cloud, d_ra, d_dec, left_out, sigma)
    _draw_field(field, shown, sigma)
    return figure


def _draw_cloud(axes: Axes, d_ra: Array, d_dec: Array, left_out: NDArray[np.bool_], sigma: float) -> None:
    """Draw offsets against each other, those of stars that were left out of the fit on top."""
    limit = _SHOWN_SIGMAS * sigma
    for rows, color, size, label in (
        (~left_out, _FITTED, 5, "in the fit"),
        (left_out, _LEFT_OUT, 9, "left out"),
    ):
        axes.scatter(
            d_ra[rows],
            d_dec[rows],
            s=size,
            color=color,
            alpha=0.6,
            linewidths=0,
            label=f"{label}: {rows.sum()}",
        )
    axes.add_patch(Circle((0.0, 0.0), sigma, fill=False, color="black", linewidth=1.0))
    axes.axhline(0.0, color="grey", linewidth=0.6, zorder=0)
    axes.axvline(0.0, color="grey", linewidth=0.6, zorder=0)
    axes.set_xlim(-limit, limit)
    axes.set_ylim(-limit, limit)
    axes.set_aspect("equal")
    axes.set_xlabel(r"$\Delta$RA cos(Dec) (mas)")
    axes.set_ylabel(r"$\Delta$Dec (mas)")
    outside = int(np.sum((np.abs(d_ra) > limit) | (np.abs(d_dec) > limit)))
    axes.set_title(
        f"median {np.median(d_ra):+.1f}, {np.median(d_dec):+.1f}; "
        f"robust scatter {robust_sigma(d_ra):.1f}, {robust_sigma(d_dec):.1f} mas; {outside} beyond the edge",
        fontsize=9,
    )
    axes.legend(loc="upper right", fontsize=8)


def _draw_field(axes: Axes, offsets: Sequence[Offsets], sigma: float) -> None:
    """Draw where the stars are, and what is common to the offsets of a part of a chip."""
    ra, dec = (np.concatenate([getattr(one, name) for one in offsets]) for name in ("ra", "dec"))
    centre = _middle(ra, dec)
    x, y = (60.0 * axis for axis in to_plane(ra, dec, *centre))
    axes.scatter(x, y, s=1.5, color="#BBBBBB", linewidths=0)
    size = max(float(np.ptp(x)), float(np.ptp(y)), 1e-3)
    arrows = np.array([arrow for one in offsets for arrow in _arrows(one, centre)]).reshape(-1, 4)
    per_mas = sigma / (_ARROWS_LENGTH * size)
    drawn = axes.quiver(
        *arrows.T, angles="xy", scale_units="xy", scale=per_mas, color=_FITTED, width=0.004, zorder=3
    )
    axes.quiverkey(drawn, 0.82, 1.025, sigma, f"{sigma:.1f} mas", labelpos="E", fontproperties={"size": 8})
    # the axes keep their size, whatever the field's shape: room for the key beside the title
    axes.set_aspect("equal", adjustable="datalim")
    axes.invert_xaxis()
    axes.set_xlabel("East of the middle (arcmin)")
    axes.set_ylabel("North of the middle (arcmin)")
    axes.set_title("median offsets in parts of the chips", fontsize=9, loc="left")


def _arrows(offsets: Offsets, centre: tuple[float, float]) -> Iterator[tuple[float, float, float, float]]:
    """Yield place (arcmin) and median offset (mas, east and north) of each part of a chip."""
    x, y = (60.0 * axis for axis in to_plane(offsets.ra, offsets.dec, *centre))
    columns, rows = _parts(x), _parts(y)
    for part in range(_BOXES * _BOXES):
        inside = columns * _BOXES + rows == part
        if inside.sum() >= _FEWEST_FOR_ARROW:
            yield (
                float(np.mean(x[inside])),
                float(np.mean(y[inside])),
                float(np.median(offsets.d_ra[inside])),
                float(np.median(offsets.d_dec[inside])),
            )


def _parts(values: Array) -> NDArray[np.intp]:
    span = max(float(np.ptp(values)), 1e-9)
    return np.minimum((_BOXES * (values - values.min()) / span).astype(np.intp), _BOXES - 1)


def _middle(ra: Array, dec: Array) -> tuple[float, float]:
    """Return a point amid the stars, whether or not right ascension 0 is among them."""
    first = float(ra[0])
    return float((first + np.mean((ra - first + 180.0) % 360.0 - 180.0)) % 360.0), float(np.mean(dec))
