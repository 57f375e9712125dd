"""Fluxes and places of all stars of a frame at once, by weighted least squares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree

from nightflow.sources.psf.kernels import fill_stamps, local_variances, normal_blocks
from nightflow.sources.psf.model import PsfModel

__all__ = ["FIT_FWHM", "MOST_STEPS", "FitPixels", "StarFits", "fit_stars"]

Array = NDArray[np.float64]

FIT_FWHM = 1.25
"""Radius in FWHM of the pixels that a star is fitted to: beyond, there is a hundredth of what they tell."""
MOST_STEPS = 12
_LARGEST_STEP = 0.25
_LARGEST_SHIFT = 0.7
"""In FWHM: of one step, and from where a star was looked for."""
_SETTLED = 0.03
"""Part of its own error by which no flux or place may change any more."""
_COVERED = 0.5
"""Part of the weight of a star's pixels that must be usable."""


@dataclass(frozen=True, kw_only=True)
class FitPixels:
    """The pixels that are fitted.

    Attributes
    ----------
    data : ndarray of float32, shape (ny, nx)
        Background-subtracted electrons.
    noise : ndarray of float32, shape (ny, nx)
        Variance less the light of the sources, electrons squared; infinite where a pixel must not count. To
        it the light of the *fitted* stars is added: weights that hold a pixel's own photon noise favour the
        pixels that came out low, and a faint star would lose a third of its error.
    least : float
        Electrons squared; no variance is below it.
    """

    data: NDArray[np.float32]
    noise: NDArray[np.float32]
    least: float

    def variance(self, model: Array) -> Array:
        """Return the variance of every pixel with that light on it; infinite where it is unusable."""
        return np.asarray(np.maximum(self.noise + model, self.least))


@dataclass(frozen=True, kw_only=True)
class StarFits:
    """Stars that were fitted; columns of equal length n.

    Attributes
    ----------
    x, y, x_err, y_err : ndarray of float64, shape (n,)
        0-based pixels.
    flux, flux_err : ndarray of float64, shape (n,)
        Electrons inside the aperture of the PSF's norm.
    chi2 : ndarray of float64, shape (n,)
        Of the pixels of each star, per degree of freedom.
    covered : ndarray of bool, shape (n,)
        Whether enough of the star's pixels are usable; if not, its flux is 0.
    moved : ndarray of bool, shape (n,)
        Whether it went as far from its first place as it may.
    """

    x: Array
    y: Array
    flux: Array
    x_err: Array
    y_err: Array
    flux_err: Array
    chi2: Array
    covered: NDArray[np.bool_]
    moved: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Self:
        """Return the rows selected by a mask or by indices."""
        return type(self)(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})


@dataclass(frozen=True)
class _Stamps:
    corner: NDArray[np.intp]
    design: Array
    weight: Array
    residual: Array


def fit_stars(
    pixels: FitPixels,
    psf: PsfModel,
    x: Array,
    y: Array,
    flux: Array | None = None,
    most_steps: int = MOST_STEPS,
) -> StarFits:
    """Fit flux and place of every star to the pixels within 1.25 FWHM of it, all stars simultaneously.

    Gauss-Newton steps on the whole frame (as Schlafly et al. 2018, ApJS 234, 39, do): stars that share pixels
    share equations, so that groups of any size are solved together, and stars that stand alone cost no more.
    Where a star's wing reaches beyond the pixels that it is fitted to, it is taken off from its neighbours.

    Parameters
    ----------
    pixels : FitPixels
    psf : PsfModel
    x, y : ndarray of float64, shape (n,)
        First places, 0-based pixels.
    flux : ndarray of float64, shape (n,), optional
        First fluxes; without them the first step finds them, places being held.
    most_steps : int
        Stars that still change then have what they have: a blend may creep for long.

    Returns
    -------
    StarFits
        In the same order. Errors are those of the inverse normal matrix by the pixels' variance, and nothing
        is added to them.
    """
    place = np.column_stack([x, y]).astype(np.float64)
    start = -1 if flux is not None else 0
    flux = np.zeros(len(place)) if flux is None else flux
    pairs = _pairs(place, psf)
    limit = _LARGEST_SHIFT * psf.fwhm
    for step in range(most_steps):
        stamps = _stamps(pixels, psf, place, flux)
        usable = _covered(stamps)
        own, right, between = _normal(stamps, pairs, usable)
        scale = np.maximum(flux, 3 * _alone_err(own, usable))
        # Without a flux there are no slopes.
        change = _solve(own, right, between, pairs, scale, with_places=step > start)
        change[~usable] = 0
        flux = flux + change[:, 0]
        moved = place + np.clip(change[:, 1:], -_LARGEST_STEP * psf.fwhm, _LARGEST_STEP * psf.fwhm)
        shift = moved - np.column_stack([x, y])
        shift *= np.minimum(1, limit / np.maximum(np.hypot(*shift.T), 1e-9))[:, None]
        place = np.column_stack([x, y]) + shift
        if step > start and _settled(change, own, scale, usable):
            break
    return _results(pixels, psf, place, flux, pairs, np.hypot(*shift.T) > 0.99 * limit)


def _stamps(pixels: FitPixels, psf: PsfModel, place: Array, flux: Array) -> _Stamps:
    radius = FIT_FWHM * psf.fwhm
    half = int(np.ceil(radius))
    size = 2 * half + 1
    corner = np.rint(place[:, ::-1] - half).astype(np.intp, order="C")
    design = np.empty((len(place), 3, size, size))
    weight, residual = np.empty((len(place), size, size)), np.empty((len(place), size, size))
    x, y = place[:, 0].copy(), place[:, 1].copy()
    fill_stamps(
        pixels.data, pixels.noise, pixels.least, psf.image(x, y, flux), x, y, corner, psf.coefficients,
        psf.norms, psf.oversampling, radius, design, weight, residual,
    )  # fmt: skip
    return _Stamps(corner, design, weight, residual)


def _pairs(place: Array, psf: PsfModel) -> NDArray[np.intp]:
    """Return which stars share pixels, or may once they have moved a little, shape (m, 2)."""
    if len(place) == 0:
        return np.empty((0, 2), np.intp)
    return cKDTree(place).query_pairs(2 * (FIT_FWHM + 0.2) * psf.fwhm, output_type="ndarray")


def _covered(stamps: _Stamps) -> NDArray[np.bool_]:
    light = stamps.design[:, 0] ** 2
    usable = np.where(stamps.weight > 0, light, 0).sum(axis=(1, 2))
    return np.asarray(usable >= _COVERED * light.sum(axis=(1, 2)))


def _normal(
    stamps: _Stamps, pairs: NDArray[np.intp], usable: NDArray[np.bool_]
) -> tuple[Array, Array, Array]:
    n = len(stamps.corner)
    own, right, between = np.empty((n, 3, 3)), np.empty((n, 3)), np.empty((len(pairs), 3, 3))
    weight = stamps.weight * usable[:, None, None]
    normal_blocks(stamps.design, weight, stamps.residual, stamps.corner, pairs, own, right, between)
    between *= (usable[pairs[:, 0]] & usable[pairs[:, 1]])[:, None, None]
    own[~usable] = np.eye(3)
    return own, right, between


def _alone_err(own: Array, usable: NDArray[np.bool_]) -> Array:
    return np.where(usable, 1 / np.sqrt(own[:, 0, 0]), 1.0)


def _solve(
    own: Array,
    right: Array,
    between: Array,
    pairs: NDArray[np.intp],
    flux: Array,
    *,
    with_places: bool,
) -> Array:
    """Return the change of flux, x and y of each star, shape (n, 3)."""
    free = 3 if with_places else 1
    # Slopes are those of a star of flux 1: the unknowns are flux and flux times shift, each in units of its
    # error for a star alone.
    diagonal = np.sqrt(np.diagonal(own, axis1=1, axis2=2))[:, :free]
    unit = 1 / np.where(diagonal > 0, diagonal, 1.0)
    one, other = pairs[:, 0], pairs[:, 1]
    blocks = between[:, :free, :free] * unit[one][:, :, None] * unit[other][:, None, :]
    values = [own[:, :free, :free] * unit[:, :, None] * unit[:, None, :], blocks, blocks.transpose(0, 2, 1)]
    numbers = np.arange(len(own))
    rows, columns = np.concatenate([numbers, one, other]), np.concatenate([numbers, other, one])
    index = np.arange(free)
    matrix = coo_matrix(
        (
            np.concatenate(values).ravel(),
            (
                np.broadcast_to(free * rows[:, None, None] + index[:, None], (len(rows), free, free)).ravel(),
                np.broadcast_to(free * columns[:, None, None] + index, (len(rows), free, free)).ravel(),
            ),
        ),
        shape=(free * len(own), free * len(own)),
    ).tocsc()
    # Two stars that came to one place would make it singular.
    matrix.setdiag(matrix.diagonal() + 1e-6)
    solver = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    change = np.zeros((len(own), 3))
    change[:, :free] = solver.solve((right[:, :free] * unit).ravel()).reshape(-1, free) * unit
    change[:, 1:] /= flux[:, None]
    return change


def _settled(change: Array, own: Array, flux: Array, usable: NDArray[np.bool_]) -> bool:
    scale = np.column_stack([np.ones(len(own)), flux, flux])
    in_errors = np.abs(change) * np.sqrt(np.diagonal(own, axis1=1, axis2=2)) * scale
    return bool((in_errors[usable] < _SETTLED).all())


def _results(
    pixels: FitPixels,
    psf: PsfModel,
    place: Array,
    flux: Array,
    pairs: NDArray[np.intp],
    moved: NDArray[np.bool_],
) -> StarFits:
    stamps = _stamps(pixels, psf, place, flux)
    usable = _covered(stamps)
    own, _, between = _normal(stamps, pairs, usable)
    variances = local_variances(own, between, *_neighbours(pairs, len(place)))
    scale = np.maximum(flux, 1e-3)
    counted = np.maximum((stamps.weight > 0).sum(axis=(1, 2)) - 3, 1)
    flux_err, x_err, y_err = np.sqrt(np.maximum(variances, 0)).T
    return StarFits(
        x=place[:, 0].copy(),
        y=place[:, 1].copy(),
        flux=np.where(usable, flux, 0.0),
        x_err=x_err / scale,
        y_err=y_err / scale,
        flux_err=flux_err,
        chi2=(stamps.weight * stamps.residual**2).sum(axis=(1, 2)) / counted,
        covered=usable,
        moved=moved,
    )


def _neighbours(
    pairs: NDArray[np.intp], n: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return the neighbours of each star as `local_variances` takes them."""
    first, second = np.append(pairs[:, 0], pairs[:, 1]), np.append(pairs[:, 1], pairs[:, 0])
    numbers = np.arange(len(pairs))
    number = np.append(numbers, -1 - numbers)
    order = np.lexsort((second, first))
    start = np.searchsorted(first[order], np.arange(n + 1))
    return start.astype(np.intp), second[order], number[order]
