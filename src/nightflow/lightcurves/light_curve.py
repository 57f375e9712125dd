"""A light curve as columns, ready for a file, a plot or a person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["COLUMNS", "Column", "LightCurve"]


@dataclass(frozen=True)
class Column:
    """One column: its type, unit (as astropy spells it) and meaning."""

    name: str
    dtype: type[float] | type[int] | type[str] | type[bool]
    unit: str
    description: str


COLUMNS = (
    Column("mjd_mid", float, "d", "Modified Julian Date of mid-exposure, UTC, at the telescope"),
    Column("bjd_tdb", float, "d", "Barycentric Julian Date of mid-exposure, TDB"),
    Column("filter", str, "", "Filter"),
    Column("kind", str, "", "aperture, psf or forced"),
    Column("mag", float, "mag", "Calibrated magnitude of the whole star, in the band zp_band of mag_system"),
    Column(
        "mag_err",
        float,
        "mag",
        "1 sigma of mag: that of flux_err; without that of the zero point, which is zp_err",
    ),
    Column(
        "upper_limit",
        float,
        "mag",
        "Of forced photometry below 3 sigma (--limit-sigma), in place of mag: the object is fainter",
    ),
    Column(
        "flux",
        float,
        "electron / s",
        "Flux of the whole star above the local background, not corrected for the air",
    ),
    Column(
        "flux_err",
        float,
        "electron / s",
        "1 sigma of flux: photons of source and sky, readout, local background, noise that pixels share, "
        "scintillation where the telescope's aperture is known; without what all stars of the frame share",
    ),
    Column(
        "flux_ujy", float, "uJy", "Calibrated flux density; empty where the band has no known AB zero point"
    ),
    Column(
        "diff_mag",
        float,
        "mag",
        "Magnitude against the ensemble of comparison stars, median 0 for each camera and filter",
    ),
    Column(
        "diff_mag_err", float, "mag", "1 sigma of diff_mag: that of flux_err and that of the ensemble's mean"
    ),
    Column("x", float, "pix", "Centroid, 0-based; of kind forced the place of the aperture"),
    Column("y", float, "pix", "Centroid, 0-based; of kind forced the place of the aperture"),
    Column("ra", float, "deg", "Right ascension on that frame, ICRS"),
    Column("dec", float, "deg", "Declination on that frame, ICRS"),
    Column("airmass", float, "", "Airmass of the frame"),
    Column("fwhm_px", float, "pix", "Full width at half maximum of the source"),
    Column("flags", int, "", "Data-quality bits, added up; 0: nothing is known against it"),
    Column("frame", str, "", "File of the frame"),
    Column("source_id", int, "", "Number of the source in the store; 0 for none"),
    Column("mag_system", str, "", "Vega or AB; empty without a zero point"),
    Column("zp_band", str, "", "Band of the catalogue that the zero point is of"),
    Column("instrument", str, "", "Profile of the camera"),
    Column("detector", str, "", "Chip of the camera"),
    Column("flux_ujy_err", float, "uJy", "1 sigma of flux_ujy: that of flux_err, without the zero point's"),
    Column(
        "zp_err",
        float,
        "mag",
        "1 sigma of the frame's zero point, which all its stars share: star-to-star scatter, aperture "
        "correction, colour term; to be added to mag_err in squares for a magnitude on its own",
    ),
    Column("zp_origin", str, "", "frame, or night where the frame had too few reference stars of its own"),
    Column("grade", str, "", "good, fair or bad: the quality of the frame"),
)
"""In the order in which they are written. NaN stands for null in columns of float."""


@dataclass(frozen=True, kw_only=True)
class LightCurve:
    """Measurements of one object, ascending in time.

    Attributes
    ----------
    columns : dict of str to ndarray, shape (n,)
        Those of `COLUMNS`.
    meta : dict of str to str
        What a reader should know: the source's place, photometric system, comparison stars.
    comparisons : dict of (str, str) to tuple of int
        Instrument and filter -> the sources in the ensemble that ``diff_mag`` is against.
    """

    columns: dict[str, NDArray[Any]]
    meta: dict[str, str] = field(default_factory=dict)
    comparisons: dict[tuple[str, str], tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        missing = [column.name for column in COLUMNS if column.name not in self.columns]
        if missing:
            raise ValueError(f"a light curve without {', '.join(missing)}")

    def __len__(self) -> int:
        return len(self.columns["mjd_mid"])

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.columns[name]

    def total_mag_err(self) -> NDArray[np.float64]:
        """Return the errors of the calibrated magnitudes, that of the zero point included where it is known.

        All stars of a frame share the latter: between frames, and for others, it counts.
        """
        return np.asarray(np.hypot(self["mag_err"], np.nan_to_num(self["zp_err"])), np.float64)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> LightCurve:
        """Return the rows selected by a mask or by indices."""
        return replace(self, columns={name: values[rows] for name, values in self.columns.items()})

    def chips(self) -> Iterator[tuple[tuple[str, str, str], NDArray[np.intp]]]:
        """Yield each instrument, detector and filter, and the rows that were measured with it."""
        keys = list(zip(self["instrument"], self["detector"], self["filter"], strict=True))
        for key in sorted(set(keys)):
            yield key, np.array([row for row, one in enumerate(keys) if one == key], np.intp)
