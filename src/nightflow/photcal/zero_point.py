"""The zero point of one frame, and the magnitudes that follow from it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nightflow.catalogs.stars import ReferenceStars
from nightflow.flags import UNUSABLE, Flag
from nightflow.instruments.profile import PhotometrySettings
from nightflow.photcal.bands import ASSUMED_ERROR, BandChoice, Reference, choose_band, reference_of
from nightflow.photcal.checks import position_columns, slope_warning, supports_position
from nightflow.photcal.colors import StarColors, calibrate_colors, unknown_color_error
from nightflow.photcal.depth import limiting_magnitude
from nightflow.photcal.lent import Lent
from nightflow.photcal.match import CatalogMatch
from nightflow.photcal.robust_line import Prior, RobustFit, fit_robust
from nightflow.photcal.solution import PhotometricSolution
from nightflow.sources.table import SourceTable

__all__ = [
    "Conditions", "FluxCalibration", "NoZeroPoint", "TooFewStars", "borrow_zero_point", "calibrate_flux",
    "color_prior", "instrumental_magnitudes",
]  # fmt: skip

_POGSON = 2.5 / np.log(10)
_LEAST_SIGNAL_TO_NOISE = 10.0
_FEWEST_CLEAN = 10
_COLOR_TERM, _COLOR_TERM_OF_A_GUESS = 0.1, 0.3
"""1 sigma of colour terms before any star is seen: of filters that are meant to be the catalogue's, and of
those that are not. Terms of B, V, R, I cameras are mostly below 0.1 (those of this project's simulator: 0.03
to 0.11); unfiltered ones reach some tenths."""


class NoZeroPoint(Exception):  # noqa: N818 - an answer, not a failure: the frame goes on without magnitudes
    """The frame cannot be calibrated; the message says why.

    Fluxes and differential magnitudes still stand.
    """


class TooFewStars(NoZeroPoint):
    """The catalogue has a band for the filter, but too few of its stars are usable on this frame.

    Attributes
    ----------
    choice : BandChoice
        What it would have been calibrated to.
    """

    def __init__(self, message: str, choice: BandChoice) -> None:
        super().__init__(message)
        self.choice = choice


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
    aperture_correction_error : float
        1 sigma of it; NaN where unknown. Magnitudes do not feel it, the zero point of an electron does.
    shape : tuple of int, optional
        Rows and columns of the frame; without them no change over the frame is looked for.
    """

    filter: str
    exptime: float
    gain: float
    aperture_noise: float
    aperture_correction: float = 1.0
    aperture_correction_error: float = 0.0
    shape: tuple[int, int] | None = None


@dataclass(frozen=True)
class _Fitted:
    """A fit with what its columns are; ``plane`` has a row for every source, None without the term."""

    fit: RobustFit
    color_column: bool
    plane: NDArray[np.float64] | None
    warning: str

    @property
    def color_term(self) -> float:
        return float(self.fit.coefficients[1]) if self.color_column else 0.0

    @property
    def position_term(self) -> tuple[float, float] | None:
        return None if self.plane is None else (self.fit.coefficients[-2], self.fit.coefficients[-1])


def calibrate_flux(
    sources: SourceTable,
    stars: ReferenceStars,
    match: CatalogMatch,
    conditions: Conditions,
    settings: PhotometrySettings,
    excluded: NDArray[np.bool_] | None = None,
) -> FluxCalibration:
    """Fit the zero point, with a colour term where the catalogue has the colours of most stars.

    At least 3 of the usable stars, and two thirds, must have one: see `nightflow.photcal.colors`. With fewer
    there is no colour term; a warning says so, and the error of the zero point holds what is not known.

    The colour term starts from what such terms usually are (0 +- 0.1 for a filter that is the catalogue's
    band, 0 +- 0.3 for one that is not): many stars of many colours decide it, a few do no more than they
    can, and what is left open of it is in the error of the zero point, which is that of colour 0.

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
    TooFewStars
        Fewer are usable than the profile asks for.
    NoZeroPoint
        The catalogue has no band near the filter; or a condition is not finite and positive, such as an
        exposure time of 0.
    """
    _refuse_absurd(conditions)
    choice = _band(conditions, stars, settings)
    instrumental, error = instrumental_magnitudes(sources.flux, sources.flux_err, conditions.exptime)
    reference = reference_of(choice, stars)
    rows = _usable_pairs(sources, reference.mag, match, error, excluded)
    if rows.sum() < settings.minimum_stars:
        raise TooFewStars(
            f"{rows.sum()} of {len(match)} matched stars are usable for the zero point, "
            f"{settings.minimum_stars} needed (catalogue {stars.catalog}, band {choice.description})",
            choice,
        )
    colors = _colors(reference, match.star, rows)
    used = colors if settings.color_term else None
    fitted = _fit(sources, instrumental, error, reference, match, rows, choice, used, conditions.shape)
    mag = instrumental + _offsets(len(sources), match, fitted, used)
    # A star of the fit is calibrated by the fit without it: its own residual there, on its catalogue value.
    fit = fitted.fit
    mag[match.source[rows]] += (fit.residuals - fit.without_each()) * fit.kept
    solution = _solution(fitted, choice, stars.catalog, colors, reference, conditions)
    if settings.color_term and colors is None and choice.color is not None:
        known = int(np.isfinite(reference.color[match.star[rows]]).sum())
        solution = replace(
            solution, warnings=(*solution.warnings, _too_few_colors(known, rows, choice.color))
        )
    return FluxCalibration(solution=solution, mag=mag, mag_err=error)


def borrow_zero_point(
    sources: SourceTable,
    stars: ReferenceStars,
    match: CatalogMatch,
    conditions: Conditions,
    choice: BandChoice,
    lent: Lent,
    why: str,
) -> FluxCalibration:
    """Calibrate a frame by what its night lends, where it has too few stars of its own.

    Parameters
    ----------
    sources, stars, match, conditions
        As for `calibrate_flux`.
    choice : BandChoice
        Band and colour of the night's zero points.
    lent : Lent
    why : str
        What the frame lacks.
    """
    instrumental, error = instrumental_magnitudes(sources.flux, sources.flux_err, conditions.exptime)
    color = reference_of(choice, stars).color
    offset = np.full(len(sources), lent.zero_point)
    if lent.color_term is not None and np.isfinite(color).any():
        own = np.full(len(sources), float(np.nanmedian(color)))
        known = np.isfinite(color[match.star])
        own[match.source[known]] = color[match.star[known]]
        offset += lent.color_term * own
    warning = (
        f"the zero point is that of the night, expected from {lent.n_frames} earlier frames, "
        f"+- {lent.error:.3f} by what the transparency does from frame to frame: {why}"
    )
    solution = PhotometricSolution(
        zero_point=lent.zero_point,
        zero_point_adu=lent.zero_point - 2.5 * np.log10(conditions.gain),
        error=lent.error,
        scatter=float("nan"),
        n_stars=0,
        catalog=stars.catalog,
        band=choice.description,
        system=choice.system,
        color_term=lent.color_term,
        color_term_error=lent.color_term_error,
        color=choice.color if lent.color_term is not None else None,
        depth_5sigma=_depth(lent.zero_point, conditions),
        origin="night",
        warnings=tuple(one for one in (choice.guess, warning) if one),
    )
    return FluxCalibration(solution=solution, mag=instrumental + offset, mag_err=error)


def color_prior(choice: BandChoice) -> float:
    """Return 1 sigma of the colour term, about 0, before any star is seen."""
    return _COLOR_TERM_OF_A_GUESS if choice.guess else _COLOR_TERM


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


def _usable_pairs(
    sources: SourceTable,
    reference: NDArray[np.float64],
    match: CatalogMatch,
    error: NDArray[np.float64],
    excluded: NDArray[np.bool_] | None,
) -> NDArray[np.bool_]:
    never = int((UNUSABLE | Flag.EDGE) & ~Flag.COSMIC_RAY)
    usable = np.isfinite(reference[match.star]) & np.isfinite(error[match.source])
    usable &= (sources.flags[match.source] & never) == 0
    usable &= error[match.source] < _POGSON / _LEAST_SIGNAL_TO_NOISE
    if excluded is not None:
        usable &= ~excluded[match.source]
    # In a sparse field a star with a neighbour, or with a filled pixel, is better than none: its scatter
    # shows in the error.
    for unwanted in (Flag.NEIGHBOUR | Flag.COSMIC_RAY, Flag.COSMIC_RAY):
        clean = usable & ((sources.flags[match.source] & int(unwanted)) == 0)
        if clean.sum() >= _FEWEST_CLEAN:
            return clean
    return usable


def _colors(reference: Reference, star: NDArray[np.intp], rows: NDArray[np.bool_]) -> StarColors | None:
    return calibrate_colors(
        reference.color[star], reference.color_variance[star], reference.covariance[star], rows
    )


def _fit(
    sources: SourceTable,
    instrumental: NDArray[np.float64],
    error: NDArray[np.float64],
    reference: Reference,
    match: CatalogMatch,
    rows: NDArray[np.bool_],
    choice: BandChoice,
    colors: StarColors | None,
    shape: tuple[int, int] | None,
) -> _Fitted:
    source, star = match.source[rows], match.star[rows]
    values = reference.mag[star] - instrumental[source]
    variance = error[source] ** 2 + reference.error[star] ** 2
    design, prior = np.ones((len(star), 1)), Prior.none(1)
    if colors is not None:
        expected = color_prior(choice)
        values = values - colors.magnitude_error[rows]
        design = np.column_stack([design, colors.value[rows]])
        prior = Prior(np.zeros(2), np.array([np.inf, expected]))
        # How uncertain the stars are depends a little on the term that is looked for.
        first = fit_robust(
            design, values, _sigma(variance + colors.added_variance(0.0, expected)[rows]), prior
        )
        found = float(first.coefficients[1]), float(np.sqrt(first.covariance[1, 1]))
        variance = variance + colors.added_variance(*found)[rows]
    sigma = _sigma(variance)
    warning = slope_warning(design, values, sigma, prior, instrumental[source])
    plane = None if shape is None else position_columns(sources.x, sources.y, shape)
    if plane is not None and supports_position(design, values, sigma, prior, plane[source]):
        design = np.column_stack([design, plane[source]])
        prior = Prior(np.append(prior.mean, [0, 0]), np.append(prior.sigma, [np.inf, np.inf]))
    else:
        plane = None
    return _Fitted(fit_robust(design, values, sigma, prior), colors is not None, plane, warning)


def _sigma(variance: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sqrt(np.maximum(variance, 1e-8))


def _offsets(
    n_sources: int, match: CatalogMatch, fitted: _Fitted, colors: StarColors | None
) -> NDArray[np.float64]:
    """Return what makes an instrumental magnitude a calibrated one, for every source.

    A source of unknown colour gets the mean colour of the reference stars.
    """
    offset = np.full(n_sources, fitted.fit.coefficients[0])
    if colors is not None:
        own = np.full(n_sources, colors.mean)
        own[match.source] = colors.value
        offset += fitted.color_term * own
    if fitted.plane is not None:
        offset += fitted.plane @ fitted.fit.coefficients[-2:]
    return offset


def _solution(
    fitted: _Fitted,
    choice: BandChoice,
    catalog: str,
    colors: StarColors | None,
    reference: Reference,
    conditions: Conditions,
) -> PhotometricSolution:
    fit, zero_point = fitted.fit, float(fitted.fit.coefficients[0])
    systematic, of_color = _color_systematics(fitted, choice, colors, reference)
    return PhotometricSolution(
        zero_point=zero_point,
        zero_point_adu=zero_point - 2.5 * np.log10(conditions.gain),
        error=float(np.sqrt(fit.covariance[0, 0] + systematic**2 + _of_aperture(conditions) ** 2)),
        scatter=fit.scatter,
        n_stars=int(fit.kept.sum()),
        catalog=catalog,
        band=choice.description,
        system=choice.system,
        color_term=fitted.color_term if fitted.color_column else None,
        color_term_error=float(np.hypot(np.sqrt(fit.covariance[1, 1]), of_color))
        if fitted.color_column
        else None,
        color=choice.color if fitted.color_column else None,
        position_term=fitted.position_term,
        depth_5sigma=_depth(zero_point, conditions),
        warnings=_warnings(fitted, choice),
    )


def _of_aperture(conditions: Conditions) -> float:
    """Return the error of the aperture correction in magnitudes; 0 where it is not known."""
    error = _POGSON * conditions.aperture_correction_error / conditions.aperture_correction
    return float(error) if np.isfinite(error) else 0.0


def _depth(zero_point: float, conditions: Conditions) -> float:
    return limiting_magnitude(
        zero_point,
        conditions.exptime,
        conditions.aperture_noise,
        aperture_correction=conditions.aperture_correction,
    )


def _color_systematics(
    fitted: _Fitted, choice: BandChoice, colors: StarColors | None, reference: Reference
) -> tuple[float, float]:
    """Return the errors of zero point and colour term that the fit itself cannot know.

    A catalogue that states no errors leaves open by how much they tilt the colour term (see
    `nightflow.photcal.colors`); it counts what errors as large as is assumed elsewhere would do.
    """
    if colors is None or not fitted.color_column:
        return unknown_color_error(color_prior(choice), colors), 0.0
    if np.isfinite(reference.color_variance).any():
        return 0.0, 0.0
    tilt = min(ASSUMED_ERROR**2 / colors.spread**2, color_prior(choice))
    return tilt * abs(colors.mean), tilt


def _warnings(fitted: _Fitted, choice: BandChoice) -> tuple[str, ...]:
    said = [choice.guess, fitted.warning]
    if fitted.position_term is not None:
        across, up = fitted.position_term
        said.append(
            f"the zero point changes over the frame by {across:+.3f} mag from its middle to the last column "
            f"and {up:+.3f} to the last row; magnitudes are corrected for it, electrons are not"
        )
    return tuple(one for one in said if one)


def _too_few_colors(known: int, rows: NDArray[np.bool_], color: tuple[str, str]) -> str:
    return (
        f"no colour term: {known} of {rows.sum()} usable stars have a colour {color[0]}-{color[1]}, not two "
        "thirds of them; magnitudes are those of stars as red as the reference stars"
    )
