"""The fit of a zero point: its terms, and what is known of them beforehand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightflow.photcal.bands import BandChoice, Reference
from nightflow.photcal.checks import position_columns, slope_warning, supports_position
from nightflow.photcal.colors import StarColors
from nightflow.photcal.match import CatalogMatch
from nightflow.photcal.robust_line import Prior, RobustFit, fit_robust
from nightflow.sources.table import SourceTable

__all__ = ["FittedZeroPoint", "color_prior", "fit_zero_point"]

_COLOR_TERM, _COLOR_TERM_OF_A_GUESS = 0.1, 0.3
"""1 sigma of colour terms before any star is seen: of filters that are meant to be the catalogue's, and of
those that are not. Terms of B, V, R, I cameras are mostly below 0.1 (those of this project's simulator: 0.03
to 0.11); unfiltered ones reach some tenths."""


@dataclass(frozen=True)
class FittedZeroPoint:
    """A fit with what its columns are; ``plane`` has a row for every source, None without the term."""

    fit: RobustFit
    color_column: bool
    plane: NDArray[np.float64] | None
    warning: str

    @property
    def color_term(self) -> float:
        """0 without the term."""
        return float(self.fit.coefficients[1]) if self.color_column else 0.0

    @property
    def position_term(self) -> tuple[float, float] | None:
        """Change over half the frame's width and height; None without the term."""
        return None if self.plane is None else (self.fit.coefficients[-2], self.fit.coefficients[-1])


def color_prior(choice: BandChoice) -> float:
    """Return 1 sigma of the colour term, about 0, before any star is seen."""
    return _COLOR_TERM_OF_A_GUESS if choice.guess else _COLOR_TERM


def fit_zero_point(
    sources: SourceTable,
    instrumental: NDArray[np.float64],
    error: NDArray[np.float64],
    reference: Reference,
    match: CatalogMatch,
    rows: NDArray[np.bool_],
    choice: BandChoice,
    colors: StarColors | None,
    shape: tuple[int, int] | None,
) -> FittedZeroPoint:
    """Fit the zero point at colour 0, the colour term where colours are given, and a plane where it shows.

    Parameters
    ----------
    sources : SourceTable
    instrumental, error : ndarray of float64, shape (len(sources),)
        Magnitudes and their errors.
    reference : Reference
        Of the catalogue's stars.
    match : CatalogMatch
        n pairs of sources and stars.
    rows : ndarray of bool, shape (n,)
        Pairs that serve.
    choice : BandChoice
    colors : StarColors or None
        Of the n pairs; None without a colour term.
    shape : tuple of int or None
        Rows and columns of the frame; None where no plane is looked for.
    """
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
    return FittedZeroPoint(fit_robust(design, values, sigma, prior), colors is not None, plane, warning)


def _sigma(variance: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sqrt(np.maximum(variance, 1e-8))
