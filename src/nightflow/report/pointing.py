"""How a night's frames lay on the sky: pointing against the header, scale, rotation, and what stands out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from nightflow.astrometry.projection import to_plane
from nightflow.lightcurves.light_curve import Column
from nightflow.products.table_files import ENCODERS, table_of_rows

__all__ = ["PointingSummary", "pointing_ecsv", "pointing_rows", "summarise_pointing"]

Array = NDArray[np.float64]
Row = Mapping[str, Any]

COLUMNS = (
    Column("file", str, "", "Name of the raw file"),
    Column("instrument", str, "", "Camera"),
    Column("detector", str, "", "Chip"),
    Column("filter", str, "", "Filter"),
    Column("mjd_mid", float, "d", "Modified Julian Date of mid-exposure, UTC"),
    Column("airmass", float, "", "Airmass"),
    Column("hour_angle", float, "h", "Of the middle of the frame, -12 to 12, positive in the west"),
    Column("ra_center", float, "deg", "Solved middle of the frame, ICRS"),
    Column("dec_center", float, "deg", "Solved middle of the frame, ICRS"),
    Column("offset_ra", float, "arcsec", "Solved minus header, times cos(dec), on the tangent plane"),
    Column("offset_dec", float, "arcsec", "Solved minus header, on the tangent plane"),
    Column("scale", float, "arcsec / pix", "In the middle of the frame"),
    Column("scale_change", float, "", "Relative to the night's median of this chip"),
    Column("rotation", float, "deg", "Position angle of +y, north through east"),
    Column("rotation_change", float, "deg", "From the night's median of this chip, a turn by 180 deg apart"),
    Column("turned", bool, "", "Turned by 180 deg against the first frame: after the meridian flip"),
    Column("wcs_quality", str, "", "verified or provisional"),
    Column("wcs_backend", str, "", "Rung that solved it"),
    Column("wcs_n_matched", int, "", "Stars in the fit"),
    Column("wcs_n_expected", int, "", "Stars that could have been matched"),
    Column("wcs_rms_arcsec", float, "arcsec", "Radial rms of the stars in the fit"),
    Column("wcs_heldout_rms_arcsec", float, "arcsec", "Radial rms of stars left out in turn (5-fold)"),
    Column("wcs_corner_rms_arcsec", float, "arcsec", "Radial rms of the stars in the outer parts"),
    Column("wcs_corner_err_arcsec", float, "arcsec", "1-sigma error of the WCS in its worst corner"),
    Column("lent_distortion", bool, "", "Whether other frames lent it their distortion"),
    Column("outlier", str, "", "What stands out among the frames of this chip; empty: nothing"),
)
_STANDS_OUT = 5.0
"""Robust spreads from the median, and at least:"""
_LEAST = {"pointing": 3.0, "scale": 2e-4, "rotation": 0.02, "rms": 0.1}
"""Arcsec, relative, degrees, arcsec."""
_MAD_TO_SIGMA = 1.4826
_FEWEST = 4


@dataclass(frozen=True, kw_only=True)
class PointingSummary:
    """A night of one chip.

    Attributes
    ----------
    instrument, detector : str
    n_frames : int
        With a WCS.
    n_offsets : int
        Of them, those whose header names a pointing.
    offset_ra, offset_dec : float
        Medians before the meridian flip, arcsec, RA times cos(dec); NaN without any.
    turned_ra, turned_dec : float
        The same after it.
    scatter_ra, scatter_dec : float
        Robust, about the trend, arcsec.
    trend_ra, trend_dec : float
        Arcsec an hour of hour angle, by Theil and Sen, within each side of the meridian flip; NaN where
        frames or hour angles are too few.
    scale, scale_scatter : float
        Median, arcsec per pixel, and relative robust scatter.
    rotation, rotation_scatter : float
        Median of the first side and robust scatter, degrees.
    rms_arcsec : float
        Median.
    n_outliers : int
    """

    instrument: str
    detector: str
    n_frames: int
    n_offsets: int
    offset_ra: float
    offset_dec: float
    turned_ra: float
    turned_dec: float
    scatter_ra: float
    scatter_dec: float
    trend_ra: float
    trend_dec: float
    scale: float
    scale_scatter: float
    rotation: float
    rotation_scatter: float
    rms_arcsec: float
    n_outliers: int

    def line(self) -> str:
        """Return the summary as a sentence."""
        chip = " ".join(filter(None, [self.instrument, self.detector and f"chip {self.detector}"]))
        parts = [f"{chip}: {self.n_frames} frames"]
        if self.n_offsets:
            parts.append(
                f'off the header by {self.offset_ra:+.1f}" in RA, {self.offset_dec:+.1f}" in Dec '
                f'(scatter {self.scatter_ra:.1f}", {self.scatter_dec:.1f}")'
            )
        if np.isfinite(self.turned_ra):
            parts.append(f'after the flip by {self.turned_ra:+.1f}", {self.turned_dec:+.1f}"')
        if np.isfinite(self.trend_ra):
            parts.append(f'trend {self.trend_ra:+.1f}", {self.trend_dec:+.1f}" an hour')
        parts.append(f'scale {self.scale:.4f}"/px (scatter {1e6 * self.scale_scatter:.0f} ppm)')
        parts.append(f"rotation {self.rotation:.3f} deg (scatter {self.rotation_scatter:.3f})")
        parts.append(f'rms {self.rms_arcsec:.2f}"')
        parts.append(f"{self.n_outliers} stand out" if self.n_outliers else "nothing stands out")
        return ", ".join(parts)


def pointing_rows(frames: Sequence[Row]) -> list[dict[str, Any]]:
    """Return a row for each frame with a WCS, with the names of `COLUMNS`, in the order given.

    Parameters
    ----------
    frames : sequence of mapping
        See `nightflow.store.pointing.solved_frames`.
    """
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number, frame in enumerate(frames):
        groups[str(frame["instrument"]), str(frame["detector"])].append(number)
    rows: dict[int, dict[str, Any]] = {}
    for numbers in groups.values():
        rows |= dict(zip(numbers, _judged([frames[one] for one in numbers]), strict=True))
    return [rows[number] for number in range(len(frames))]


def summarise_pointing(rows: Sequence[Row]) -> list[PointingSummary]:
    """Return a summary of each chip, in the order of their names."""
    chips = sorted({(str(row["instrument"]), str(row["detector"])) for row in rows})
    return [_summary([row for row in rows if (row["instrument"], row["detector"]) == chip]) for chip in chips]


def pointing_ecsv(rows: Sequence[Row], night: str) -> bytes:
    """Return the table of a night as ECSV, with its summaries in the header."""
    table: Table = table_of_rows(rows, COLUMNS)
    table.meta["night"] = night
    table.meta["summary"] = [one.line() for one in summarise_pointing(rows)]
    return ENCODERS["ecsv"](table)


def _judged(frames: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the rows of one chip, compared with each other."""
    scale = _column(frames, "scale")
    rotation, turned = _rotations(_column(frames, "rotation"))
    offset = np.array([_offset(frame) for frame in frames])
    hours = _column(frames, "hour_angle")
    off_trend = np.stack([_off_trend(hours, offset[:, axis], turned) for axis in (0, 1)])
    strange = {
        "pointing": _strange(off_trend[0], "pointing") | _strange(off_trend[1], "pointing"),
        "scale": _strange(scale / np.nanmedian(scale) - 1.0, "scale"),
        "rotation": _strange(rotation, "rotation"),
        "rms": _strange(_column(frames, "wcs_rms_arcsec"), "rms"),
    }
    passed = [column.name for column in COLUMNS if column.name in frames[0]]
    return [
        {name: frame[name] for name in passed}
        | {
            "offset_ra": _rounded(offset[row, 0], 3),
            "offset_dec": _rounded(offset[row, 1], 3),
            "scale_change": _rounded(scale[row] / np.nanmedian(scale) - 1.0, 8),
            "rotation_change": _rounded(rotation[row] - np.nanmedian(rotation), 5),
            "turned": bool(turned[row]),
            "outlier": " ".join(name for name, which in strange.items() if which[row]),
        }
        for row, frame in enumerate(frames)
    ]


def _column(frames: Sequence[Row], name: str) -> Array:
    return np.array([np.nan if frame[name] is None else frame[name] for frame in frames], np.float64)


def _offset(frame: Row) -> tuple[float, float]:
    """Return solved minus header in arcsec on the plane about the header's place; NaN where it names none."""
    if frame["ra"] is None or frame["dec"] is None or frame["ra_center"] is None:
        return float("nan"), float("nan")
    xi, eta = to_plane(
        np.array([frame["ra_center"]]), np.array([frame["dec_center"]]), frame["ra"], frame["dec"]
    )
    return 3600.0 * float(xi[0]), 3600.0 * float(eta[0])


def _rotations(rotation: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Return rotations near the first one, half turns taken off, and which had one."""
    off = (rotation - rotation[0] + 180.0) % 360.0 - 180.0
    turned = np.abs(off) > 90.0
    return rotation[0] + off - np.where(turned, 180.0 * np.sign(off), 0.0), turned


def _off_trend(hours: Array, values: Array, turned: NDArray[np.bool_]) -> Array:
    """Return values less the trend with hour angle and, on each side of the flip, their median."""
    slope = _trend(hours, values, turned)
    left = values - (slope * np.nan_to_num(hours) if np.isfinite(slope) else 0.0)
    for side in (turned, ~turned):
        if np.isfinite(left[side]).any():
            left[side] -= np.nanmedian(left[side])
    return left


def _trend(hours: Array, values: Array, turned: NDArray[np.bool_]) -> float:
    """Return the median slope of pairs of frames on the same side (Theil 1950, Sen 1968)."""
    known = np.isfinite(hours) & np.isfinite(values)
    if known.sum() < _FEWEST:
        return float("nan")
    one, other = np.triu_indices(len(hours), 1)
    pairs = known[one] & known[other] & (turned[one] == turned[other])
    one, other = one[pairs], other[pairs]
    apart = hours[other] - hours[one]
    slopes = (values[other] - values[one])[apart != 0.0] / apart[apart != 0.0]
    return float(np.median(slopes)) if len(slopes) >= _FEWEST else float("nan")


def _strange(values: Array, name: str) -> NDArray[np.bool_]:
    if np.isfinite(values).sum() < _FEWEST:
        return np.zeros(len(values), bool)
    off = np.abs(values - np.nanmedian(values))
    spread = _MAD_TO_SIGMA * float(np.nanmedian(off))
    return np.asarray(np.nan_to_num(off) > max(_STANDS_OUT * spread, _LEAST[name]))


def _summary(rows: Sequence[Row]) -> PointingSummary:
    offsets = [_column(rows, name) for name in ("offset_ra", "offset_dec")]
    turned = np.array([row["turned"] for row in rows], bool)
    hours = _column(rows, "hour_angle")
    trends = [_trend(hours, one, turned) for one in offsets]
    scatter = [_scatter(_off_trend(hours, one, turned)) for one in offsets]
    first = _column([row for row in rows if not row["turned"]], "rotation")
    return PointingSummary(
        instrument=str(rows[0]["instrument"]),
        detector=str(rows[0]["detector"]),
        n_frames=len(rows),
        n_offsets=int(np.isfinite(offsets[0]).sum()),
        offset_ra=_median(offsets[0][~turned]),
        offset_dec=_median(offsets[1][~turned]),
        turned_ra=_median(offsets[0][turned]),
        turned_dec=_median(offsets[1][turned]),
        scatter_ra=scatter[0],
        scatter_dec=scatter[1],
        trend_ra=trends[0],
        trend_dec=trends[1],
        scale=_median(_column(rows, "scale")),
        scale_scatter=_scatter(_column(rows, "scale_change")),
        rotation=_median(_rotations(first)[0]) % 360.0,
        rotation_scatter=_scatter(_column(rows, "rotation_change")),
        rms_arcsec=_median(_column(rows, "wcs_rms_arcsec")),
        n_outliers=sum(bool(row["outlier"]) for row in rows),
    )


def _median(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")


def _scatter(values: Array) -> float:
    return _MAD_TO_SIGMA * _median(np.abs(values - _median(values)))


def _rounded(value: float, digits: int) -> float | None:
    return round(float(value), digits) if np.isfinite(value) else None
