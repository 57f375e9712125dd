"""A plate model: tangent point, CD matrix and SIP distortion, as plain arrays.

The solvers fit and evaluate this; `to_wcs` turns it into an `astropy.wcs.WCS` at the end. The
distortion follows Shupe et al. 2005 (SIP): ``(xi, eta) = CD (u + A(u, v), v + B(u, v))`` with
(u, v) the pixel offsets from the reference pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from astropy.wcs import WCS, Sip
from numpy.typing import NDArray

from nightflow.astrometry.projection import from_plane, to_plane

__all__ = ["Plate", "fit_plate", "pixel_grid", "plate_from_wcs", "polynomials", "sip_powers"]

Array = NDArray[np.float64]
_Parameters = tuple[Array, Array, Array]
"""Offset of the tangent point (degrees), CD matrix, and higher terms of xi and eta."""

_GRID = 12
_INVERSE_ITERATIONS = 30
_CONVERGED = 1e-6
"""Pixels."""
_INVERSE_PRECISION = 0.005
"""Pixels to which the inverse polynomials that are written follow the distortion."""
_LINEAR = [(1, 0), (0, 1)]
_HIGHEST_INVERSE = 9
"""The SIP convention knows no higher order."""


def sip_powers(order: int) -> list[tuple[int, int]]:
    """Return the powers (p, q) of u and v in a SIP polynomial: 2 <= p + q <= order."""
    return [(p, total - p) for total in range(2, order + 1) for p in range(total, -1, -1)]


@dataclass(frozen=True, kw_only=True)
class Plate:
    """A TAN or TAN-SIP solution.

    Attributes
    ----------
    ra0, dec0 : float
        Tangent point, ICRS degrees.
    x0, y0 : float
        Its pixel, 0-based.
    cd : ndarray, shape (2, 2)
        Degrees per pixel.
    order : int
        0 similarity, 1 affine, 2 or more with SIP polynomials of that order.
    a, b : ndarray, shape (len(sip_powers(sip_order)),)
        SIP coefficients in the order of `sip_powers`. Those of a distortion that was given may end with two
        linear ones, of u and v: what off-axis optics stretch one way more than the other.
    given : int
        Order of a distortion that was given, not fitted, where ``order`` is 0 or 1; else 0. It belongs to the
        pixel (x0, y0).
    """

    ra0: float
    dec0: float
    x0: float
    y0: float
    cd: Array
    order: int
    a: Array
    b: Array
    given: int = 0

    @property
    def sip_order(self) -> int:
        """Order of the SIP polynomials, fitted or given; below 2: there are none."""
        return max(self.order, self.given)

    @property
    def scale(self) -> float:
        """Arcsec per pixel at the reference pixel."""
        return float(np.sqrt(abs(np.linalg.det(self.cd)))) * 3600.0

    def plane(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Return tangent-plane coordinates (degrees) of pixels."""
        du, dv = self.distortion(x - self.x0, y - self.y0)
        u, v = x - self.x0 + du, y - self.y0 + dv
        return self.cd[0, 0] * u + self.cd[0, 1] * v, self.cd[1, 0] * u + self.cd[1, 1] * v

    def sky(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Return right ascension and declination (degrees) of 0-based pixels."""
        return from_plane(*self.plane(x, y), self.ra0, self.dec0)

    def pixels(self, ra: Array, dec: Array) -> tuple[Array, Array]:
        """Return the 0-based pixels of sky positions; NaN for what lies on the far side of the sky."""
        xi, eta = to_plane(ra, dec, self.ra0, self.dec0)
        inverse = np.linalg.inv(self.cd)
        u = inverse[0, 0] * xi + inverse[0, 1] * eta
        v = inverse[1, 0] * xi + inverse[1, 1] * eta
        if self.sip_order < 2:
            return self.x0 + u, self.y0 + v
        return self._undistorted(u, v)

    def residuals(self, x: Array, y: Array, ra: Array, dec: Array) -> tuple[Array, Array]:
        """Return observed minus catalogue position in arcsec on the tangent plane."""
        xi, eta = to_plane(ra, dec, self.ra0, self.dec0)
        xi_seen, eta_seen = self.plane(x, y)
        return 3600.0 * (xi_seen - xi), 3600.0 * (eta_seen - eta)

    def to_wcs(self, shape: tuple[int, int] | None = None) -> WCS:
        """Return the solution as an astropy WCS.

        Parameters
        ----------
        shape : tuple of int, optional
            (ny, nx) of the frame. With it a distorted solution holds the inverse polynomials (AP, BP), for
            readers that do not invert A and B themselves.
        """
        if len(self.a) > len(sip_powers(self.sip_order)):
            return self._with_linear_terms_in_cd().to_wcs(shape)
        wcs = WCS(naxis=2)
        suffix = "-SIP" if self.sip_order >= 2 else ""
        wcs.wcs.ctype = [f"RA---TAN{suffix}", f"DEC--TAN{suffix}"]
        wcs.wcs.cunit = ["deg", "deg"]
        wcs.wcs.crval = [self.ra0, self.dec0]
        wcs.wcs.crpix = [self.x0 + 1.0, self.y0 + 1.0]
        wcs.wcs.cd = self.cd
        wcs.wcs.radesys = "ICRS"
        if self.sip_order >= 2:
            forward = _matrix(self.sip_order, sip_powers(self.sip_order), np.stack([self.a, self.b]))
            inverse = (None, None) if shape is None else self._inverse(shape)
            wcs.sip = Sip(*forward, *inverse, wcs.wcs.crpix)
        wcs.wcs.set()
        return wcs

    def _inverse(self, shape: tuple[int, int]) -> tuple[Array, Array]:
        """Return AP and BP: of the lowest order that follows the distortion over the frame."""
        x, y = pixel_grid(shape)
        u, v = x - self.x0, y - self.y0
        du, dv = self.distortion(u, v)
        seen_u, seen_v = u + du, v + dv
        unit = max(float(np.max(np.hypot(seen_u, seen_v))), 1.0)
        for order in range(self.sip_order, _HIGHEST_INVERSE + 1):
            powers = [(0, 0), (1, 0), (0, 1), *sip_powers(order)]
            design = np.column_stack([(seen_u / unit) ** p * (seen_v / unit) ** q for p, q in powers])
            wanted = -np.column_stack([du, dv])
            solved = np.linalg.lstsq(design, wanted, rcond=None)[0]
            if np.max(np.hypot(*(design @ solved - wanted).T)) <= _INVERSE_PRECISION:
                break
        inverse = solved / np.array([unit ** (p + q) for p, q in powers])[:, None]
        return _matrix(order, powers, inverse.T)

    def distortion(self, u: Array, v: Array) -> tuple[Array, Array]:
        """Return A and B (pixels) at offsets of (u, v) pixels from the reference pixel."""
        return polynomials(u, v, self.sip_order, self.a, self.b)

    def _with_linear_terms_in_cd(self) -> Plate:
        """Return the same plate as the SIP convention wants it."""
        both = np.stack([self.a, self.b])
        shape = np.eye(2) + both[:, -2:]
        a, b = np.linalg.solve(shape, both[:, :-2])
        return replace(self, cd=self.cd @ shape, a=a, b=b)

    def _undistorted(self, u_seen: Array, v_seen: Array) -> tuple[Array, Array]:
        """Invert the distortion by fixed-point iteration; NaN where it does not converge."""
        u, v = u_seen, v_seen
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(_INVERSE_ITERATIONS):
                du, dv = self.distortion(u, v)
                step = np.hypot(u_seen - du - u, v_seen - dv - v)
                u, v = u_seen - du, v_seen - dv
                if not np.any(step > _CONVERGED):
                    break
            converged = step < 1e-2
        return np.where(converged, self.x0 + u, np.nan), np.where(converged, self.y0 + v, np.nan)


def polynomials(
    u: Array, v: Array, order: int, a: Sequence[float] | Array, b: Sequence[float] | Array
) -> tuple[Array, Array]:
    """Return the values of two polynomials of SIP; linear terms may follow the others, see `Plate`."""
    du, dv = np.zeros_like(u), np.zeros_like(v)
    powers = list(sip_powers(order))
    if len(a) != len(powers):
        powers += _LINEAR
    for term, one, other in zip(_monomials(u, v, powers), a, b, strict=True):
        du += one * term
        dv += other * term
    return du, dv


def fit_plate(
    x: Array,
    y: Array,
    ra: Array,
    dec: Array,
    *,
    start: Plate,
    order: int,
    weights: Array | None = None,
) -> Plate:
    """Fit a plate to matched stars by weighted linear least squares.

    The reference pixel stays; the tangent point moves until the constant term vanishes.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        0-based pixels.
    ra, dec : ndarray, shape (n,)
        Catalogue positions at the epoch of the frame, degrees.
    start : Plate
        Gives reference pixel, first tangent point and, for order 0, the parity; and the distortion that was
        given, which stays where the order is 0 or 1.
    order : int
        0 similarity (4 parameters), 1 affine (6), 2 to 4 SIP.
    weights : ndarray, shape (n,), optional
        Inverse variances in any unit.

    Returns
    -------
    Plate
        The fit; meaningless where there are fewer stars than parameters / 2.
    """
    u, v = x - start.x0, y - start.y0
    given = start.given if order < 2 else 0
    if given:
        du, dv = start.distortion(u, v)
        u, v = u + du, v + dv
    unit = max(float(np.max(np.hypot(u, v), initial=1.0)), 1.0)
    root = np.sqrt(weights)[:, None] if weights is not None else np.ones((len(x), 1))
    solver: Callable[[Array, Array], _Parameters]
    if order == 0:
        solver = _similarity_fit(u, v, root, float(np.sign(np.linalg.det(start.cd))))
    else:
        solver = _polynomial_fit(u / unit, v / unit, root, order, unit)
    ra0, dec0 = start.ra0, start.dec0
    for _ in range(4):
        offset, linear, extra = solver(*to_plane(ra, dec, ra0, dec0))
        moved = from_plane(np.array([offset[0]]), np.array([offset[1]]), ra0, dec0)
        ra0, dec0 = float(moved[0][0]), float(moved[1][0])
        if np.hypot(*offset) <= _CONVERGED * np.max(np.abs(linear)):
            break
    fitted = np.linalg.solve(linear, extra) if order >= 2 else np.zeros((2, 0))
    a, b = (start.a, start.b) if given else fitted
    return Plate(ra0=ra0, dec0=dec0, x0=start.x0, y0=start.y0, cd=linear, order=order, a=a, b=b, given=given)


def plate_from_wcs(wcs: WCS, shape: tuple[int, int]) -> Plate:
    """Return the plate that follows ``wcs`` over a frame of ``shape``: TAN and SIP exactly, TPV closely.

    The reference pixel becomes the middle of the frame.
    """
    ny, nx = shape
    x, y = pixel_grid(shape)
    ra, dec = wcs.all_pix2world(x, y, 0)
    middle = ((nx - 1) / 2.0, (ny - 1) / 2.0)
    ra0, dec0 = (float(value) for value in wcs.all_pix2world(*middle, 0))
    start = Plate(
        ra0=ra0, dec0=dec0, x0=middle[0], y0=middle[1], cd=np.eye(2), order=1, a=np.empty(0), b=np.empty(0)
    )
    linear = fit_plate(x, y, ra, dec, start=start, order=1)
    worst = np.max(np.hypot(*linear.residuals(x, y, ra, dec)))
    if worst < 1e-3 * linear.scale:
        return linear
    return fit_plate(x, y, ra, dec, start=linear, order=4)


def pixel_grid(shape: tuple[int, int]) -> tuple[Array, Array]:
    """Return pixels spread over the frame, its edges included."""
    ny, nx = shape
    y, x = np.meshgrid(np.linspace(-0.5, ny - 0.5, _GRID), np.linspace(-0.5, nx - 0.5, _GRID))
    return x.ravel(), y.ravel()


def _matrix(order: int, powers: Sequence[tuple[int, int]], coefficients: Array) -> tuple[Array, Array]:
    """Return the coefficients (2, n) as two matrices, whose element (p, q) belongs to u^p v^q."""
    matrices = np.zeros((2, order + 1, order + 1))
    for (p, q), values in zip(powers, coefficients.T, strict=True):
        matrices[:, p, q] = values
    return matrices[0], matrices[1]


def _monomials(u: Array, v: Array, powers: Sequence[tuple[int, int]]) -> Iterator[Array]:
    """Yield u^p v^q; by products, for a power takes ten times as long."""
    u_powers, v_powers = [np.ones_like(u)], [np.ones_like(v)]
    for _ in range(max((p + q for p, q in powers), default=0)):
        u_powers.append(u_powers[-1] * u)
        v_powers.append(v_powers[-1] * v)
    for p, q in powers:
        yield u_powers[p] * v_powers[q]


def _similarity_fit(u: Array, v: Array, root: Array, sign: float) -> Callable[[Array, Array], _Parameters]:
    """Return what fits shift, scale and rotation with the sign of the determinant given."""
    zero, one = np.zeros_like(u), np.ones_like(u)
    rows_xi = np.column_stack([one, zero, u, v]) * root
    rows_eta = np.column_stack([zero, one, sign * v, -sign * u]) * root
    inverse = _solver(np.vstack([rows_xi, rows_eta]))

    def fit(xi: Array, eta: Array) -> _Parameters:
        c_xi, c_eta, p, q = inverse(np.concatenate([xi * root[:, 0], eta * root[:, 0]]))
        return np.array([c_xi, c_eta]), np.array([[p, q], [-sign * q, sign * p]]), np.empty((2, 0))

    return fit


def _polynomial_fit(
    u: Array, v: Array, root: Array, order: int, unit: float
) -> Callable[[Array, Array], _Parameters]:
    """Return what fits a polynomial in (u, v), which are pixel offsets divided by ``unit``."""
    powers = sip_powers(order)
    inverse = _solver(np.column_stack([np.ones_like(u), u, v, *_monomials(u, v, powers)]) * root)
    units = np.array([unit ** (p + q) for p, q in powers]).reshape(-1, 1)

    def fit(xi: Array, eta: Array) -> _Parameters:
        solved = inverse(np.column_stack([xi, eta]) * root)
        return solved[0], np.asarray(solved[1:3].T / unit, np.float64), (solved[3:] / units).T

    return fit


def _solver(design: Array) -> Callable[[Array], Array]:
    """Return what solves for a right-hand side by least squares, with the least norm where singular."""
    left, singular, right = np.linalg.svd(design, full_matrices=False)
    kept = singular > np.finfo(float).eps * max(design.shape) * singular.max(initial=0.0)
    scaled = right[kept].T / singular[kept]
    return lambda values: np.asarray(scaled @ (left[:, kept].T @ values), np.float64)
