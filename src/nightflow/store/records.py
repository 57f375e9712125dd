"""What a reduction hands to the store: one record and the columns of its measurements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightflow.store.models import finite

__all__ = ["CatalogIdentity", "MeasurementColumns", "ReductionRecord", "WcsStarsRecord"]


@dataclass(frozen=True, kw_only=True)
class ReductionRecord:
    """The columns of one `nightflow.store.models.Reduction` that the chain decides; the names are the same.

    A number that is not finite is written as null.
    """

    software: str
    plan_fingerprint: str
    masters: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    fwhm_px: float | None = None
    ellipticity: float | None = None
    sky: float | None = None
    n_sources: int | None = None
    n_cosmic: int | None = None
    wcs: str = ""
    wcs_backend: str | None = None
    wcs_quality: str = "none"
    wcs_rms_arcsec: float | None = None
    wcs_heldout_rms_arcsec: float | None = None
    wcs_n_matched: int | None = None
    ra_center: float | None = None
    dec_center: float | None = None
    scale: float | None = None
    rotation: float | None = None
    parity: int | None = None
    zp: float | None = None
    zp_adu: float | None = None
    zp_err: float | None = None
    zp_scatter: float | None = None
    zp_n_stars: int | None = None
    zp_catalog: str | None = None
    zp_band: str | None = None
    mag_system: str | None = None
    color_term: float | None = None
    color_term_err: float | None = None
    zp_origin: str | None = None
    depth_5sigma: float | None = None
    gain: float | None = None
    sky_rms: float | None = None
    threshold: float | None = None
    n_photometry: int | None = None
    n_saturated_pixels: int | None = None
    n_saturated_sources: int | None = None
    adu_rate_brightest: float | None = None
    adu_rate_median: float | None = None
    adu_rate_faintest: float | None = None
    fwhm_err_px: float | None = None
    n_fwhm_stars: int | None = None
    trailing: float | None = None
    trailing_angle: float | None = None
    grade: str | None = None
    grade_reason: str | None = None
    wcs_catalog: str | None = None
    wcs_n_expected: int | None = None
    wcs_chance_matches: float | None = None
    wcs_log_false_alarm: float | None = None
    wcs_corner_rms_arcsec: float | None = None
    wcs_corner_err_arcsec: float | None = None
    wcs_distortion: str | None = None
    hour_angle: float | None = None

    def values(self) -> dict[str, Any]:
        """Return the columns as plain values that every database takes."""
        plain = {name: _plain(value) for name, value in asdict(self).items()}
        plain["masters"] = dict(self.masters)
        plain["warnings"] = list(self.warnings)
        plain["timings"] = {step: finite(seconds) or 0.0 for step, seconds in self.timings.items()}
        return plain


@dataclass(frozen=True, kw_only=True)
class WcsStarsRecord:
    """The columns of `nightflow.store.models.WcsStars` that the chain decides; the names are the same."""

    optics: str
    corner_errors_arcsec: tuple[float, ...] = ()
    stars: Mapping[str, NDArray[np.floating]] = field(default_factory=dict)

    def values(self) -> dict[str, Any]:
        """Return the columns as plain values that every database takes."""
        return {
            "optics": self.optics,
            "corner_errors_arcsec": [finite(one) for one in self.corner_errors_arcsec],
            "stars": {name: [finite(float(one)) for one in column] for name, column in self.stars.items()},
        }


@dataclass(frozen=True, kw_only=True)
class CatalogIdentity:
    """Which stars of a catalogue the detections of a frame are; columns of equal length n.

    Attributes
    ----------
    catalog : str
        Its name.
    known : ndarray of bool, shape (n,)
        Whether a detection is a star of it.
    ids : ndarray of str, shape (n,)
        Name in the catalogue, "" where it has none.
    pmra, pmdec : ndarray of float, shape (n,)
        mas/yr, pmra with the cosine of the declination in it; 0 where unknown.
    """

    catalog: str
    known: NDArray[np.bool_]
    ids: NDArray[np.str_]
    pmra: NDArray[np.floating]
    pmdec: NDArray[np.floating]

    def __len__(self) -> int:
        return len(self.known)

    def and_unknown(self, n: int) -> CatalogIdentity:
        """Return these and ``n`` more that are no star of the catalogue."""
        return CatalogIdentity(
            catalog=self.catalog,
            known=np.append(self.known, np.zeros(n, bool)),
            ids=np.append(self.ids, np.full(n, "", self.ids.dtype)),
            pmra=np.append(self.pmra, np.zeros(n)),
            pmdec=np.append(self.pmdec, np.zeros(n)),
        )

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> CatalogIdentity:
        """Return the detections selected by a mask or by indices."""
        return CatalogIdentity(
            catalog=self.catalog,
            known=self.known[rows],
            ids=self.ids[rows],
            pmra=self.pmra[rows],
            pmdec=self.pmdec[rows],
        )


@dataclass(frozen=True, kw_only=True)
class MeasurementColumns:
    """Measurements of one frame as columns of equal length n, one row a detection and kind.

    Attributes
    ----------
    number : ndarray of int, shape (n,)
        Detection number on the frame, from 0; the same for all kinds of one detection. Forced apertures count
        downwards from -1.
    kind : str or ndarray of str, shape (n,)
        aperture, psf or forced.
    flux, flux_err : ndarray of float, shape (n,)
        Electrons per second.
    mag, mag_err : ndarray of float, shape (n,)
        NaN where there is no zero point or no positive flux. The error is without the zero point's own.
    x, y : ndarray of float, shape (n,)
        0-based pixels.
    ra, dec : ndarray of float, shape (n,)
        ICRS degrees; NaN on an unsolved frame.
    fwhm_px : ndarray of float, shape (n,)
        Pixels, NaN where unknown.
    flags : ndarray of int, shape (n,)
        Bits of `nightflow.flags.Flag`.
    bjd_tdb : ndarray of float, shape (n,)
        NaN where unknown.
    position_err : ndarray of float, shape (n,)
        1-sigma error of the place along each axis, arcsec, without that of the WCS; NaN where unknown.
    mjd_mid : float
        UTC.
    filter : str
        As the profile maps it.
    catalog : CatalogIdentity, optional
        Which stars of a catalogue they are.
    moving : ndarray of bool, shape (n,), optional
        Forced apertures that follow an ephemeris: they belong to no source.
    """

    number: NDArray[np.integer]
    kind: str | NDArray[np.str_]
    flux: NDArray[np.floating]
    flux_err: NDArray[np.floating]
    mag: NDArray[np.floating]
    mag_err: NDArray[np.floating]
    x: NDArray[np.floating]
    y: NDArray[np.floating]
    ra: NDArray[np.floating]
    dec: NDArray[np.floating]
    fwhm_px: NDArray[np.floating]
    flags: NDArray[np.integer]
    bjd_tdb: NDArray[np.floating]
    position_err: NDArray[np.floating]
    mjd_mid: float
    filter: str
    catalog: CatalogIdentity | None = None
    moving: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in self._arrays()}
        if self.catalog is not None:
            lengths["catalog"] = len(self.catalog)
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns of different length: {lengths}")

    def __len__(self) -> int:
        return len(self.number)

    def and_those(self, other: MeasurementColumns) -> MeasurementColumns:
        """Return the rows of both, which are of one frame; a catalogue knows none of the other's."""
        kinds = np.concatenate([self.kinds(), other.kinds()])
        joined: dict[str, Any] = {
            name: np.concatenate([getattr(self, name), getattr(other, name)])
            for name in self._arrays()
            if name not in ("kind", "moving")
        }
        moving = np.concatenate(
            [np.zeros(len(one), bool) if one.moving is None else one.moving for one in (self, other)]
        )
        catalog = None if self.catalog is None else self.catalog.and_unknown(len(other))
        return replace(self, kind=kinds, moving=moving, catalog=catalog, **joined)

    def usable(self) -> NDArray[np.bool_]:
        """Return which rows can be stored: place, flux and error are finite numbers."""
        finite_rows = [np.isfinite(getattr(self, name)) for name in ("flux", "flux_err", "x", "y")]
        return np.logical_and.reduce(finite_rows)

    def solved(self) -> NDArray[np.bool_]:
        """Return which rows have a place on the sky."""
        return np.isfinite(self.ra) & np.isfinite(self.dec)

    def forced(self) -> NDArray[np.bool_]:
        """Return which rows are apertures put on places, not detections."""
        return np.asarray(self.number) < 0

    def kinds(self) -> NDArray[np.str_]:
        """Return the kind of each row, shape (n,)."""
        return np.broadcast_to(np.asarray(self.kind, dtype=np.str_), (len(self),))

    def _arrays(self) -> list[str]:
        scalars = {"mjd_mid", "filter", "catalog"} | ({"kind"} if isinstance(self.kind, str) else set())
        scalars |= {"moving"} if self.moving is None else set()
        return [name for name in self.__dataclass_fields__ if name not in scalars]


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    return finite(value) if isinstance(value, float) else value
