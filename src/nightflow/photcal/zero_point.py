"""The zero point of one frame, and the magnitudes that follow from it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nightflow.catalogs.stars import ReferenceStars
from nightflow.instruments.profile import PhotometrySettings
from nightflow.photcal.bands import ASSUMED_ERROR, BandChoice, Reference, choose_band, reference_of
from nightflow.photcal.colors import StarColors, calibrate_colors, unknown_color_error
from nightflow.photcal.conditions import Conditions
from nightflow.photcal.instrumental import instrumental_magnitudes
from nightflow.photcal.left_out import left_out
from nightflow.photcal.match import CatalogMatch
from nightflow.photcal.no_zero_point import NoZeroPoint, TooFewStars
from nightflow.photcal.solution import FluxCalibration, PhotometricSolution
from nightflow.photcal.usable_pairs import usable_pairs
from nightflow.photcal.zero_fit import FittedZeroPoint, color_prior, fit_zero_point
from nightflow.sources.table import SourceTable

__all__ = ["calibrate_flux"]


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
    conditions.refuse_absurd()
    choice = _band(conditions, stars, settings)
    instrumental, error = instrumental_magnitudes(sources.flux, sources.flux_err, conditions.exptime)
    reference = reference_of(choice, stars)
    rows = usable_pairs(sources, reference.mag, match, error, excluded)
    if rows.sum() < settings.minimum_stars:
        raise TooFewStars(
            f"{rows.sum()} of {len(match)} matched stars are usable for the zero point, "
            f"{settings.minimum_stars} needed (catalogue {stars.catalog}, band {choice.description})",
            choice,
        )
    colors = _colors(reference, match.star, rows)
    used = colors if settings.color_term else None
    fitted = fit_zero_point(
        sources, instrumental, error, reference, match, rows, choice, used, conditions.shape
    )
    mag = instrumental + _offsets(len(sources), match, fitted, used)
    # A star of the fit is calibrated by the fit without it: its own residual there, on its catalogue value.
    fit = fitted.fit
    mag[match.source[rows]] += (fit.residuals - fit.without_each()) * fit.kept
    solution = _solution(fitted, choice, stars.catalog, colors, reference, conditions)
    said = [left_out(fit, stars.ids[match.star[rows]], reference.mag[match.star[rows]], choice.description)]
    if settings.color_term and colors is None and choice.color is not None:
        known = int(np.isfinite(reference.color[match.star[rows]]).sum())
        said.append(_too_few_colors(known, rows, choice.color))
    solution = replace(solution, warnings=(*solution.warnings, *filter(None, said)))
    return FluxCalibration(solution=solution, mag=mag, mag_err=error)


def _band(conditions: Conditions, stars: ReferenceStars, settings: PhotometrySettings) -> BandChoice:
    choice = choose_band(conditions.filter, stars, settings)
    if choice is None:
        raise NoZeroPoint(
            f"catalogue {stars.catalog} has no band for the filter {conditions.filter!r} (it has "
            f"{', '.join(sorted(stars.mags)) or 'no magnitudes'}); "
            "map it in the camera profile under [photometry.bands]"
        )
    return choice


def _colors(reference: Reference, star: NDArray[np.intp], rows: NDArray[np.bool_]) -> StarColors | None:
    return calibrate_colors(
        reference.color[star], reference.color_variance[star], reference.covariance[star], rows
    )


def _offsets(
    n_sources: int, match: CatalogMatch, fitted: FittedZeroPoint, colors: StarColors | None
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
    fitted: FittedZeroPoint,
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
        error=float(np.sqrt(fit.covariance[0, 0] + systematic**2 + conditions.aperture_error**2)),
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
        depth_5sigma=conditions.depth(zero_point),
        warnings=_warnings(fitted, choice),
    )


def _color_systematics(
    fitted: FittedZeroPoint, choice: BandChoice, colors: StarColors | None, reference: Reference
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


def _warnings(fitted: FittedZeroPoint, choice: BandChoice) -> tuple[str, ...]:
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
