"""What a camera's optics do to its focal plane: learned on frames of many stars, lent to others.

A frame of a dozen stars cannot tell a distortion from noise, and a linear model leaves its corners wrong by
what the optics bend there. But the optics are those of every other frame of the camera. The stars of all
frames that have many are fitted together, each frame with an affine model of its own and all with one SIP
polynomial about the middle of the chip (Shupe et al. 2005), of an order that no frame could fix alone.
Whether a frame takes it is decided on stars left out of the fit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nightflow.astrometry.plate import Plate, fit_plate, pixel_grid, polynomials, sip_powers

__all__ = ["Distortion", "StarField", "bent", "learn_distortion", "straight"]

Array = NDArray[np.float64]

FEWEST_STARS = 50
"""Of a frame that teaches."""
_STARS_PER_TERM = 30
"""Of all frames together."""
FEWEST_FRAMES = 3
_ORDERS = (3, 4, 5)
_ALONE = 3
"""Order that one frame supports: what frames are compared by."""
_GAIN = 0.99
"""What a higher order must bring the scatter of stars left out down to."""
_FOLDS = 5
_CELLS = 8
"""Along each side of the chip; stars are left out by cells, since frames of a night show the same stars."""
_CLIP = 4.0
_ROUNDS = 3
_STRANGE = 5.0
"""Spreads by which a frame may differ from the median one; and pixels, where frames agree too well:"""
_ALIKE = 0.3
_SIGNIFICANT = 3.0
"""Errors by which the distortion must stand out somewhere on the chip."""
_REFRACTION = 1e-3
"""The air squeezes the sky along the vertical by 2.8e-4 (sec^2 z - 1), half of which is a stretch: so much 70
degrees from the zenith. It turns with the hour angle, and is no part of the optics."""
_LEAST = 0.05
"""Pixels; what bends less is not worth lending."""
_MAD_TO_SIGMA = 1.4826
_RAYLEIGH_MEDIAN = 1.1774


@dataclass(frozen=True, kw_only=True)
class StarField:
    """The stars of a frame that teaches.

    Attributes
    ----------
    u, v : ndarray, shape (n,)
        Detected, pixels from the middle of the chip.
    xi, eta : ndarray, shape (n,)
        Their catalogue places on the tangent plane about the middle of the frame, in any unit.
    """

    u: Array
    v: Array
    xi: Array
    eta: Array

    def __len__(self) -> int:
        return len(self.u)

    def take(self, rows: NDArray[np.bool_]) -> StarField:
        """Return a part of the stars."""
        return StarField(u=self.u[rows], v=self.v[rows], xi=self.xi[rows], eta=self.eta[rows])


@dataclass(frozen=True, kw_only=True)
class Distortion:
    """The distortion of a camera, as its frames taught it.

    Attributes
    ----------
    shape, parity, order, a, b
        (ny, nx) of the chip; +1 as on the sky, -1 mirrored; SIP polynomials about the middle of the chip, in
        the order of `nightflow.astrometry.plate.sip_powers`. Two linear terms follow where the chip lies so
        far off the axis that its pixels have not the same scale both ways: six stars can tell a turned frame
        from a shifted one, but not that.
    n_frames : int
        That taught it.
    scatter_px : float
        1-sigma radial scatter between frames in the worst corner, pixels.
    error_px : float
        The same of the mean of frames.
    """

    shape: tuple[int, int]
    parity: int
    order: int
    a: tuple[float, ...]
    b: tuple[float, ...]
    n_frames: int
    scatter_px: float
    error_px: float

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that a solution takes from it."""
        content = [self.shape, self.parity, self.order, self.a, self.b, self.scatter_px]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def flattened(self, u: Array, v: Array) -> tuple[Array, Array]:
        """Return offsets from the middle of the chip (pixels) as they were without the distortion."""
        du, dv = polynomials(u, v, self.order, self.a, self.b)
        return u + du, v + dv


def learn_distortion(fields: Iterable[StarField], shape: tuple[int, int], parity: int) -> Distortion | None:
    """Return the distortion that frames of one chip share; None where there is none to be lent.

    Parameters
    ----------
    fields : iterable of StarField
        In any order.
    shape : tuple of int
        (ny, nx) of the chip.
    parity : int
        +1 as on the sky, -1 mirrored; of all frames.

    Returns
    -------
    Distortion or None
        None for fewer than three frames of fifty stars that agree, or where the distortion does not stand out
        of its error anywhere on the chip.
    """
    fields = [one for one in fields if len(one) >= FEWEST_STARS]
    # sums and folds go by this order, not by that in which frames came
    fields.sort(key=lambda one: (len(one), float(one.u.sum()), float(one.v.sum())))
    if len(fields) < FEWEST_FRAMES:
        return None
    unit = 0.5 * float(np.hypot(*shape))
    frames = [_displaced(one, unit) for one in fields]
    frames, scatter = _alike(frames, shape, unit)
    orders = [one for one in _ORDERS if _n_stars(frames) >= _STARS_PER_TERM * len(sip_powers(one))]
    if len(frames) < FEWEST_FRAMES or not orders:
        return None
    order = _best_order(frames, orders, unit)
    terms = _joint(frames, order, unit)
    bends, error = _bends(frames, order, terms, shape, unit)
    # a median of frames is less certain than their mean by sqrt(pi / 2); so is the clipped fit at worst
    error = max(error, scatter * float(np.sqrt(0.5 * np.pi / len(frames))))
    if float(np.max(np.hypot(*bends.T))) <= max(_SIGNIFICANT * error, _LEAST):
        return None
    units = np.array([unit ** (p + q) for p, q in sip_powers(order)])
    stretch, apart = _stretch(frames, order, terms, shape, unit)
    scatter = float(np.hypot(scatter, apart))
    error = float(np.hypot(error, apart * np.sqrt(0.5 * np.pi / len(frames))))
    a, b = np.hstack([(np.eye(2) + stretch) @ (terms.T / units), stretch]) if apart else terms.T / units
    return Distortion(
        shape=shape,
        parity=parity,
        order=order,
        a=tuple(float(value) for value in a),
        b=tuple(float(value) for value in b),
        n_frames=len(frames),
        scatter_px=scatter,
        error_px=error,
    )


def bent(guess: Plate, distortion: Distortion) -> Plate | None:
    """Return the plate with a distortion that follows ``guess`` best; None where the parity is another."""
    if _parity(guess) != distortion.parity:
        return None
    ny, nx = distortion.shape
    x, y = pixel_grid(distortion.shape)
    middle = (nx - 1) / 2.0, (ny - 1) / 2.0
    ra0, dec0 = guess.sky(np.array([middle[0]]), np.array([middle[1]]))
    start = Plate(
        ra0=float(ra0[0]),
        dec0=float(dec0[0]),
        x0=middle[0],
        y0=middle[1],
        cd=guess.cd,
        order=1,
        a=np.array(distortion.a),
        b=np.array(distortion.b),
        given=distortion.order,
    )
    return fit_plate(x, y, *guess.sky(x, y), start=start, order=1)


def straight(plate: Plate, shape: tuple[int, int]) -> Plate:
    """Return the plate without a given distortion that follows ``plate`` best; others as they are."""
    if not plate.given:
        return plate
    x, y = pixel_grid(shape)
    start = replace(plate, order=1, given=0, a=np.empty(0), b=np.empty(0))
    return fit_plate(x, y, *plate.sky(x, y), start=start, order=1)


@dataclass(frozen=True)
class _Frame:
    """Stars at (u, v) and by how much a frame's linear model misses them, shape (n, 2); pixels.

    ``cd`` is that model: sky per pixel, shape (2, 2).
    """

    u: Array
    v: Array
    off: Array
    cd: Array

    def take(self, rows: NDArray[np.bool_]) -> _Frame:
        return _Frame(self.u[rows], self.v[rows], self.off[rows], self.cd)


def _displaced(field: StarField, unit: float) -> _Frame:
    """Return a frame in pixels: the sky less what is linear, outliers left out."""
    for _ in range(_ROUNDS):
        flat, residual, cd = _flattened(field, unit)
        good = _not_outlying(residual)
        field, flat = field.take(good), flat[good]
        if good.all():
            break
    return _Frame(field.u, field.v, flat - np.column_stack([field.u, field.v]), cd)


def _flattened(field: StarField, unit: float) -> tuple[Array, Array, Array]:
    """Return where the sky would be without distortion, what a frame's own fit leaves of it, and that.

    The first two in pixels, the last as sky per pixel, shape (2, 2).
    """
    design = np.column_stack([_affine(field.u, field.v, unit), _basis(field.u, field.v, _ALONE, unit)])
    sky = np.column_stack([field.xi, field.eta])
    solved = np.linalg.lstsq(design, sky, rcond=None)[0]
    cd = solved[1:3].T / unit
    to_pixels = np.linalg.inv(cd)
    return (sky - solved[0]) @ to_pixels.T, (sky - design @ solved) @ to_pixels.T, np.asarray(cd, np.float64)


def _alike(frames: Sequence[_Frame], shape: tuple[int, int], unit: float) -> tuple[list[_Frame], float]:
    """Return the frames that agree, and the radial scatter (pixels) between them in the worst corner."""
    x, y = pixel_grid(shape)
    u, v = x - (shape[1] - 1) / 2.0, y - (shape[0] - 1) / 2.0
    basis = _basis(u, v, _ALONE, unit)
    maps = np.stack([_off_affine(u, v, basis @ _joint([one], _ALONE, unit), unit) for one in frames])
    apart = np.hypot(*np.moveaxis(maps - np.median(maps, axis=0), -1, 0)).max(axis=1)
    good = apart <= max(_STRANGE * float(np.median(apart)), _ALIKE)
    maps = maps[good]
    spread = _MAD_TO_SIGMA * np.median(np.abs(maps - np.median(maps, axis=0)), axis=0)
    corners = np.hypot(u, v) >= 0.999 * np.hypot(u, v).max()
    kept = [one for one, is_good in zip(frames, good, strict=True) if is_good]
    return kept, float(np.max(np.hypot(*spread[corners].T)))


def _n_stars(frames: Sequence[_Frame]) -> int:
    return sum(len(one.u) for one in frames)


def _bends(
    frames: Sequence[_Frame], order: int, terms: Array, shape: tuple[int, int], unit: float
) -> tuple[Array, float]:
    """Return what the terms bend `pixel_grid` by, and how far that moves in the worst corner without a fold.

    The latter is a jackknife over the folds, as in `nightflow.astrometry.corners`.
    """
    x, y = pixel_grid(shape)
    u, v = x - (shape[1] - 1) / 2.0, y - (shape[0] - 1) / 2.0
    basis = _basis(u, v, order, unit)
    parts = [_joint(_without(frames, fold, unit), order, unit) for fold in range(_FOLDS)]
    moved = np.stack([_off_affine(u, v, basis @ (one - terms), unit) for one in parts])
    moved -= moved.mean(axis=0)
    variance = (_FOLDS - 1) / _FOLDS * np.sum(moved**2, axis=(0, 2))
    corners = np.hypot(u, v) >= 0.999 * np.hypot(u, v).max()
    return _off_affine(u, v, basis @ terms, unit), float(np.sqrt(variance[corners].max()))


def _stretch(
    frames: Sequence[_Frame], order: int, terms: Array, shape: tuple[int, int], unit: float
) -> tuple[Array, float]:
    """Return the linear terms that frames share, shape (2, 2), and their scatter (pixels) in a corner.

    Both are 0 where the terms do not stand out of their error, or are no more than refraction makes.
    """
    stretches = np.stack([_stretch_of(one, order, terms, unit) for one in frames])
    stretch = np.median(stretches, axis=0)
    half = 0.5 * np.array([[shape[1], shape[0]], [-shape[1], shape[0]]], float)
    spread = _MAD_TO_SIGMA * np.median(np.abs((stretches - stretch) @ half.T), axis=0)
    scatter = float(np.max(np.hypot(*spread)))
    error = scatter * float(np.sqrt(0.5 * np.pi / len(frames)))
    stands_out = float(np.max(np.hypot(*(stretch @ half.T)))) > max(_SIGNIFICANT * error, _LEAST)
    if not stands_out or float(np.abs(np.linalg.eigvalsh(stretch)).max()) <= _REFRACTION:
        return np.zeros((2, 2)), 0.0
    return stretch, scatter


def _stretch_of(frame: _Frame, order: int, terms: Array, unit: float) -> Array:
    """Return what is neither turn nor scale in how a frame's pixels lie on the sky, the higher terms apart.

    M = R (1 + stretch), where R is a similarity: the polar decomposition.
    """
    seen = np.column_stack([frame.u, frame.v])
    flat = seen + _basis(frame.u, frame.v, order, unit) @ terms
    design = np.column_stack([np.ones(len(flat)), flat])
    linear = frame.cd @ np.linalg.lstsq(design, seen + frame.off, rcond=None)[0][1:3].T
    squares, axes = np.linalg.eigh(linear.T @ linear)
    lengths = np.sqrt(squares / np.sqrt(np.prod(squares)))
    return np.asarray((axes * lengths) @ axes.T - np.eye(2), np.float64)


def _best_order(frames: Sequence[_Frame], orders: Sequence[int], unit: float) -> int:
    """Return the lowest order that no higher one beats on stars left out of the fit."""
    best, least = orders[0], _left_out(frames, orders[0], unit)
    for order in orders[1:]:
        scatter = _left_out(frames, order, unit)
        if scatter < _GAIN * least:
            best, least = order, scatter
    return best


def _left_out(frames: Sequence[_Frame], order: int, unit: float) -> float:
    """Return the median radial residual (pixels) of stars whose part of the chip was left out in turn."""
    radial = []
    for fold in range(_FOLDS):
        terms = _joint(_without(frames, fold, unit), order, unit)
        for one in frames:
            kept = _fold(one, unit) != fold
            left = one.off - _basis(one.u, one.v, order, unit) @ terms
            affine = _affine(one.u, one.v, unit)
            left = left - affine @ np.linalg.lstsq(affine[kept], left[kept], rcond=None)[0]
            radial.append(np.hypot(*left[~kept].T))
    return float(np.median(np.concatenate(radial)))


def _fold(frame: _Frame, unit: float) -> NDArray[np.intp]:
    """Return the fold of each star: of the cell of the chip on which it lies."""
    column, row = (np.floor((0.5 + 0.5 * one / unit) * _CELLS).astype(np.intp) for one in (frame.u, frame.v))
    return np.asarray((column + 2 * row) % _FOLDS)


def _without(frames: Sequence[_Frame], fold: int, unit: float) -> list[_Frame]:
    return [one.take(_fold(one, unit) != fold) for one in frames]


def _joint(frames: Sequence[_Frame], order: int, unit: float) -> Array:
    """Return the higher terms, shape (k, 2), of one polynomial; each frame has an affine model of its own.

    The affine parts are projected out of both sides (Frisch & Waugh 1933), so that the matrix stays small.
    """
    sides = [
        (
            _off_affine(one.u, one.v, _basis(one.u, one.v, order, unit), unit),
            _off_affine(one.u, one.v, one.off, unit),
        )
        for one in frames
    ]
    design, off = np.vstack([one for one, _ in sides]), np.vstack([one for _, one in sides])
    for _ in range(_ROUNDS):
        terms = np.asarray(np.linalg.lstsq(design, off, rcond=None)[0], np.float64)
        good = _not_outlying(off - design @ terms)
        if good.all():
            break
        design, off = design[good], off[good]
    return terms


def _not_outlying(residual: Array) -> NDArray[np.bool_]:
    radial = np.hypot(*residual.T)
    return np.asarray(radial <= _CLIP * max(float(np.median(radial)) / _RAYLEIGH_MEDIAN, 1e-6))


def _affine(u: Array, v: Array, unit: float) -> Array:
    return np.column_stack([np.ones_like(u), u / unit, v / unit])


def _basis(u: Array, v: Array, order: int, unit: float) -> Array:
    return np.column_stack([(u / unit) ** p * (v / unit) ** q for p, q in sip_powers(order)])


def _off_affine(u: Array, v: Array, values: Array, unit: float) -> Array:
    """Return columns less the affine model that follows them best."""
    design = _affine(u, v, unit)
    return np.asarray(values - design @ np.linalg.lstsq(design, values, rcond=None)[0], np.float64)


def _parity(plate: Plate) -> int:
    return 1 if np.linalg.det(plate.cd) < 0 else -1
