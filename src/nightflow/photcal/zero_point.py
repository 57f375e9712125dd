"""The zero point of one frame, and the magnitudes that follow from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightflow.catalogs.stars import ReferenceStars
from nightflow.flags import UNUSABLE, Flag
from nightflow.instruments.profile import PhotometrySettings
from nightflow.photcal.bands import BandChoice, choose_band
from nightflow.photcal.depth import limiting_magnitude
from nightflow.photcal.match import CatalogMatch
from nightflow.photcal.robust_line import RobustFit, fit_robust
from nightflow.photcal.solution import PhotometricSolution
from nightflow.sources.table import SourceTable

__all__ = ["Conditions", "FluxCalibration", "NoZeroPoint", "calibrate_flux", "instrumental_magnitudes"]

_POGSON = 2.5 / np.log(10)
_ASSUMED_CATALOG_ERROR = 0.02
_LEAST_SIGNAL_TO_NOISE = 10.0
_FEWEST_FOR_COLOR = 10
_COLOR_LEVER = 1.2
"""Standard deviation of the colours times the square root of their number, from which a colour term is
fitted: stars that scatter by 0.03 mag then give it to 0.03."""


class NoZeroPoint(Exception):  # noqa: N818 - an answer, not a failure: the frame goes on without magnitudes
    """The frame cannot be calibrated; the message says why.

    Fluxes and differential magnitudes still stand.
    """


@dataclass(frozen=True, kw_only=True)
class FluxCalibration:
    """Zero point and calibrated magnitudes.

    Attributes
    ----------
    solution : PhotometricSolution
    mag, mag_err : ndarray of float64, shape (n,)
        Of every source; NaN where the flux is not positive. The error is the flux's own, without the zero
        point's. A star that took part in the fit is calibrated by a fit without it, so that no star is its
        own reference; its magnitude is NaN where there is no fit without it.
    """

    solution: PhotometricSolution
    mag: NDArray[np.float64]
    mag_err: NDArray[np.float64]


def instrumental_magnitudes(
    flux: NDArray[np.float64], flux_err: NDArray[np.float64], exptime: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return -2.5 log10(flux / exptime) and its error; NaN where the flux is not positive and finite."""
    positive = (flux > 0) & np.isfinite(flux)
    safe = np.where(positive, flux, 1.0)
    mag = np.where(positive, -2.5 * np.log10(safe / exptime), np.nan)
    return mag, np.where(positive, _POGSON * flux_err / safe, np.nan)


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """How a frame was taken and measured, as far as its zero point depends on it.

    Attributes
    ----------
    filter : str
    exptime : float
        Seconds.
    gain : float
        Electrons per raw ADU.
    aperture_noise : float
        Noise of an aperture on empty sky, electrons.
    aperture_correction : float
        Total flux over flux in the aperture; the fluxes hold it already.
    """

    filter: str
    exptime: float
    gain: float
    aperture_noise: float
    aperture_correction: float = 1.0


def calibrate_flux(
    sources: SourceTable,
    stars: ReferenceStars,
    match: CatalogMatch,
    conditions: Conditions,
    settings: PhotometrySettings,
    excluded: NDArray[np.bool_] | None = None,
) -> FluxCalibration:
    """Fit the zero point, with a colour term where the catalogue supports one.

    Parameters
    ----------
    sources : SourceTable
        Of the frame.
    stars : ReferenceStars
        Of the frame's field.
    match : CatalogMatch
        Pairs of the two.
    conditions : Conditions
        Of the frame.
    settings : PhotometrySettings
        Of the profile.
    excluded : ndarray of bool, shape (len(sources),), optional
        Sources that must not serve as reference: the night's targets.

    Raises
    ------
    NoZeroPoint
        The catalogue has no band near the filter, or too few usable stars; or a condition is not finite and
        positive, such as an exposure time of 0.
    """
    _refuse_absurd(conditions)
    choice = _band(conditions, stars, settings)
    instrumental, error = instrumental_magnitudes(sources.flux, sources.flux_err, conditions.exptime)
    rows = _usable_pairs(sources, stars, match, choice, error, excluded)
    if rows.sum() < settings.minimum_stars:
        raise NoZeroPoint(
            f"{rows.sum()} of {len(match)} matched stars are usable for the zero point, "
            f"{settings.minimum_stars} needed (catalogue {stars.catalog}, band {choice.band})"
        )
    color = _star_colors(stars, choice, settings)
    if color is not None:
        rows, color = _with_color(rows, match, color)
    source, star = match.source[rows], match.star[rows]
    fit = _fit(instrumental[source], error[source], stars, star, choice, color)
    mag = instrumental + _offsets(sources, match, source, fit, color)
    # A star of the fit is calibrated by the fit without it: its own residual there, on its catalogue value.
    mag[source] += (fit.residuals - fit.without_each()) * fit.kept
    solution = _solution(fit, choice, stars.catalog, color is not None, conditions)
    return FluxCalibration(solution=solution, mag=mag, mag_err=error)


def _refuse_absurd(conditions: Conditions) -> None:
    for name in ("exptime", "gain", "aperture_noise", "aperture_correction"):
        value = getattr(conditions, name)
        if not (np.isfinite(value) and value > 0):
            raise NoZeroPoint(f"{name} = {value:g} of the frame is not a positive number")


def _band(conditions: Conditions, stars: ReferenceStars, settings: PhotometrySettings) -> BandChoice:
    choice = choose_band(conditions.filter, stars, settings)
    if choice is None:
        raise NoZeroPoint(
            f"catalogue {stars.catalog} has no band for the filter {conditions.filter!r} (it has "
            f"{', '.join(sorted(stars.mags)) or 'no magnitudes'}); "
            "map it in the camera profile under [photometry.bands]"
        )
    return choice


def _solution(
    fit: RobustFit, choice: BandChoice, catalog: str, with_color: bool, conditions: Conditions
) -> PhotometricSolution:
    zero_point = float(fit.coefficients[0])
    return PhotometricSolution(
        zero_point=zero_point,
        zero_point_adu=zero_point - 2.5 * np.log10(conditions.gain),
        error=float(np.sqrt(fit.covariance[0, 0])),
        scatter=fit.scatter,
        n_stars=int(fit.kept.sum()),
        catalog=catalog,
        band=choice.band,
        system=choice.system,
        color_term=float(fit.coefficients[1]) if with_color else None,
        color=choice.color if with_color else None,
        depth_5sigma=limiting_magnitude(
            zero_point,
            conditions.exptime,
            conditions.aperture_noise,
            aperture_correction=conditions.aperture_correction,
        ),
        warnings=(choice.guess,) if choice.guess else (),
    )


def _usable_pairs(
    sources: SourceTable,
    stars: ReferenceStars,
    match: CatalogMatch,
    choice: BandChoice,
    error: NDArray[np.float64],
    excluded: NDArray[np.bool_] | None,
) -> NDArray[np.bool_]:
    never = int((UNUSABLE | Flag.EDGE) & ~Flag.COSMIC_RAY)
    usable = np.isfinite(stars.mags[choice.band][match.star]) & np.isfinite(error[match.source])
    usable &= (sources.flags[match.source] & never) == 0
    usable &= error[match.source] < _POGSON / _LEAST_SIGNAL_TO_NOISE
    if excluded is not None:
        usable &= ~excluded[match.source]
    # In a sparse field a star with a neighbour, or with a filled pixel, is better than none: its scatter
    # shows in the error.
    for unwanted in (Flag.NEIGHBOUR | Flag.COSMIC_RAY, Flag.COSMIC_RAY):
        clean = usable & ((sources.flags[match.source] & int(unwanted)) == 0)
        if clean.sum() >= _FEWEST_FOR_COLOR:
            return clean
    return usable


def _star_colors(
    stars: ReferenceStars, choice: BandChoice, settings: PhotometrySettings
) -> NDArray[np.float64] | None:
    if choice.color is None or not settings.color_term:
        return None
    return np.asarray(stars.mags[choice.color[0]] - stars.mags[choice.color[1]])


def _with_color(
    rows: NDArray[np.bool_], match: CatalogMatch, color: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.float64] | None]:
    """Return the pairs of known colour where they carry a colour term, else all pairs and no colour."""
    colored = rows & np.isfinite(color[match.star])
    if colored.sum() < max(_FEWEST_FOR_COLOR, 0.7 * rows.sum()):
        return rows, None
    lever = float(np.std(color[match.star[colored]]) * np.sqrt(colored.sum()))
    return (colored, color) if lever >= _COLOR_LEVER else (rows, None)


def _fit(
    instrumental: NDArray[np.float64],
    error: NDArray[np.float64],
    stars: ReferenceStars,
    star: NDArray[np.intp],
    choice: BandChoice,
    color: NDArray[np.float64] | None,
) -> RobustFit:
    stated = stars.mag_errs.get(choice.band)
    unknown = np.full(len(star), np.nan)
    given = unknown if stated is None else stated[star]
    catalog_err = np.where(np.isfinite(given), given, _ASSUMED_CATALOG_ERROR)
    columns = [np.ones(len(star))] if color is None else [np.ones(len(star)), color[star]]
    sigma = np.maximum(np.hypot(error, catalog_err), 1e-4)
    return fit_robust(np.column_stack(columns), stars.mags[choice.band][star] - instrumental, sigma)


def _offsets(
    sources: SourceTable,
    match: CatalogMatch,
    source: NDArray[np.intp],
    fit: RobustFit,
    color: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """Return what makes an instrumental magnitude a calibrated one, for every source.

    A source of unknown colour gets the median colour of the reference stars.
    """
    offset = np.full(len(sources), fit.coefficients[0])
    if color is None:
        return offset
    own = np.full(len(sources), np.nan)
    own[match.source] = color[match.star]
    typical = float(np.median(own[source[fit.kept]]))
    return offset + fit.coefficients[1] * np.where(np.isfinite(own), own, typical)
