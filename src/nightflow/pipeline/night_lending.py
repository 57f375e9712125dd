"""What a night lends to its frames that have too few stars of their own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from nightflow.lightcurves.cluster import chord
from nightflow.photcal.extinction import expect_zero_point
from nightflow.photcal.night import NightSolution
from nightflow.pipeline.night_rows import PRECISION, rounded
from nightflow.pipeline.night_series import Series, match_reach
from nightflow.sphere import unit_vectors
from nightflow.store.lent_zero_points import LentZeroPoint
from nightflow.store.night_photometry import PhotometricFrame

__all__ = ["lend"]

_AtPlaces = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
"""Right ascensions and declinations, ICRS degrees, to a value of each."""


def lend(series: Series, found: NightSolution) -> list[LentZeroPoint]:
    """Return the zero points of frames that have none of their own: from their stars, however few, else
    expected.
    """
    counts = np.bincount(series.rows.frame, minlength=len(series.frames))
    tree = cKDTree(unit_vectors(series.stars.ra, series.stars.dec))

    def colors(ra: NDArray[np.float64], dec: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the colour of the star at each place, the mean one where that is not known."""
        placed = np.isfinite(ra) & np.isfinite(dec)
        own = np.full(len(ra), found.color)
        near, star = tree.query(unit_vectors(ra[placed], dec[placed]))
        color = series.reference.color[star]
        known = (near <= chord(match_reach(series.frames[0], series.settings))) & np.isfinite(color)
        own[np.flatnonzero(placed)[known]] = color[known]
        return own

    out = []
    for row, frame in enumerate(series.frames):
        if frame.is_own:
            continue
        zero_point, error, warning = _lent_value(found, frame, row, int(counts[row]))
        term, term_error = found.color_term_at(frame.airmass) or (None, None)
        values = {
            "zp": round(zero_point, PRECISION),
            "zp_err": round(error, PRECISION),
            "zp_n_stars": int(counts[row]),
            "zp_origin": "night",
            "zp_catalog": series.stars.catalog,
            "zp_band": series.choice.description,
            "mag_system": series.choice.system,
            "color_term": rounded(term),
            "color_term_err": rounded(term_error),
        }
        out.append(LentZeroPoint(frame.reduction_id, values, warning, _color_offset(term, colors)))
    return out


def _color_offset(term: float | None, colors: _AtPlaces) -> _AtPlaces:
    return lambda ra, dec: np.zeros(len(ra)) if term is None else term * colors(ra, dec)


def _lent_value(
    found: NightSolution, frame: PhotometricFrame, row: int, n_stars: int
) -> tuple[float, float, str]:
    """Return zero point, error and what is to be said of them."""
    if n_stars and np.isfinite(found.zero_point[row]):
        return (
            float(found.zero_point[row]),
            float(found.error[row]),
            f"the zero point is that of the night: {n_stars} stars of this frame, with the colour term and "
            "the star offsets of all its frames",
        )
    expected = expect_zero_point(found.air, frame.airmass)
    term, _ = found.color_term_at(frame.airmass) or (0.0, 0.0)
    common = float(np.nanmedian(found.error))
    error = float(np.hypot(expected.error, common))
    return (
        expected.zero_point - term * found.color,
        error,
        "the zero point is that of the night for this airmass: no star of the frame itself; "
        f"+- {error:.3f} by what the transparency does from frame to frame",
    )
