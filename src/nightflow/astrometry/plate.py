"""A plate model: tangent point, CD matrix and SIP distortion, as plain arrays.

The solvers fit and evaluate this; `to_wcs` turns it into an `astropy.wcs.WCS` at the end. The
distortion follows Shupe et al. 2005 (SIP): ``(xi, eta) = CD (u + A(u, v), v + B(u, v))`` with
(u, v) the pixel offsets from the reference pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS, Sip
from numpy.typing import NDArray

from nightflow.astrometry.projection import from_plane, to_plane

__all__ = ["Plate", "fit_plate", "plate_from_wcs", "sip_powers"]

Array = NDArray[np.float64]

_GRID = 12
_INVERSE_ITERATIONS = 12


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
    a, b : ndarray, shape (len(sip_powers(order)),)
        SIP coefficients in the order of `sip_powers`.
    """

    ra0: float
    dec0: float
    x0: float
    y0: float
    cd: Array
    order: int
    a: Array
    b: Array

    @property
    def scale(self) -> float:
        """Arcsec per pixel at the reference pixel."""
        return float(np.sqrt(abs(np.linalg.det(self.cd)))) * 3600.0

    def plane(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Return tangent-plane coordinates (degrees) of pixels."""
        du, dv = self._distortion(x - self.x0, y - self.y0)
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
        if self.order < 2:
            return self.x0 + u, self.y0 + v
        return self._undistorted(u, v)

    def residuals(self, x: Array, y: Array, ra: Array, dec: Array) -> tuple[Array, Array]:
        """Return observed minus catalogue position in arcsec on the tangent plane."""
        xi, eta = to_plane(ra, dec, self.ra0, self.dec0)
        xi_seen, eta_seen = self.plane(x, y)
        return 3600.0 * (xi_seen - xi), 3600.0 * (eta_seen - eta)

    def to_wcs(self) -> WCS:
        """Return the solution as an astropy WCS."""
        wcs = WCS(naxis=2)
        suffix = "-SIP" if self.order >= 2 else ""
        wcs.wcs.ctype = [f"RA---TAN{suffix}", f"DEC--TAN{suffix}"]
        wcs.wcs.cunit = ["deg", "deg"]
        wcs.wcs.crval = [self.ra0, self.dec0]
        wcs.wcs.crpix = [self.x0 + 1.0, self.y0 + 1.0]
        wcs.wcs.cd = self.cd
        wcs.wcs.radesys = "ICRS"
        if self.order >= 2:
            wcs.sip = Sip(self._matrix(self.a), self._matrix(self.b), None, None, wcs.wcs.crpix)
        wcs.wcs.set()
        return wcs

    def _matrix(self, coefficients: Array) -> Array:
        matrix = np.zeros((self.order + 1, self.order + 1))
        for (p, q), value in zip(sip_powers(self.order), coefficients, strict=True):
            matrix[p, q] = value
        return matrix

    def _distortion(self, u: Array, v: Array) -> tuple[Array, Array]:
        du, dv = np.zeros_like(u), np.zeros_like(v)
        for (p, q), a, b in zip(sip_powers(self.order), self.a, self.b, strict=True):
            term = u**p * v**q
            du, dv = du + a * term, dv + b * term
        return du, dv

    def _undistorted(self, u_seen: Array, v_seen: Array) -> tuple[Array, Array]:
        """Invert the distortion by fixed-point iteration; NaN where it does not converge."""
        u, v = u_seen, v_seen
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(_INVERSE_ITERATIONS):
                du, dv = self._distortion(u, v)
                step = np.hypot(u_seen - du - u, v_seen - dv - v)
                u, v = u_seen - du, v_seen - dv
            converged = step < 1e-2
        return np.where(converged, self.x0 + u, np.nan), np.where(converged, self.y0 + v, np.nan)


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
        Gives reference pixel, first tangent point and, for order 0, the parity.
    order : int
        0 similarity (4 parameters), 1 affine (6), 2 and 3 SIP.
    weights : ndarray, shape (n,), optional
        Inverse variances in any unit.

    Returns
    -------
    Plate
        The fit; meaningless where there are fewer stars than parameters / 2.
    """
    u, v = x - start.x0, y - start.y0
    unit = max(float(np.max(np.hypot(u, v), initial=1.0)), 1.0)
    root = np.sqrt(weights)[:, None] if weights is not None else np.ones((len(x), 1))
    ra0, dec0 = start.ra0, start.dec0
    for _ in range(3):
        xi, eta = to_plane(ra, dec, ra0, dec0)
        if order == 0:
            offset, linear, extra = _fit_similarity(u, v, xi, eta, root, np.sign(np.linalg.det(start.cd)))
        else:
            offset, linear, extra = _fit_polynomial(u / unit, v / unit, xi, eta, root, order, unit)
        moved = from_plane(np.array([offset[0]]), np.array([offset[1]]), ra0, dec0)
        ra0, dec0 = float(moved[0][0]), float(moved[1][0])
    sip = np.linalg.solve(linear, extra) if order >= 2 else np.zeros((2, 0))
    return Plate(ra0=ra0, dec0=dec0, x0=start.x0, y0=start.y0, cd=linear, order=order, a=sip[0], b=sip[1])


def plate_from_wcs(wcs: WCS, shape: tuple[int, int]) -> Plate:
    """Return the plate that follows ``wcs`` over a frame of ``shape``: TAN and SIP exactly, TPV closely.

    The reference pixel becomes the middle of the frame.
    """
    ny, nx = shape
    grid_y, grid_x = np.meshgrid(np.linspace(0, ny - 1, _GRID), np.linspace(0, nx - 1, _GRID))
    x, y = grid_x.ravel(), grid_y.ravel()
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


def _fit_similarity(
    u: Array, v: Array, xi: Array, eta: Array, root: Array, determinant: float
) -> tuple[Array, Array, Array]:
    """Fit shift, scale and rotation with the sign of the determinant given."""
    s = determinant
    zero, one = np.zeros_like(u), np.ones_like(u)
    rows_xi = np.column_stack([one, zero, u, v]) * root
    rows_eta = np.column_stack([zero, one, s * v, -s * u]) * root
    design = np.vstack([rows_xi, rows_eta])
    values = np.concatenate([xi * root[:, 0], eta * root[:, 0]])
    c_xi, c_eta, p, q = np.linalg.lstsq(design, values, rcond=None)[0]
    return np.array([c_xi, c_eta]), np.array([[p, q], [-s * q, s * p]]), np.empty((2, 0))


def _fit_polynomial(
    u: Array, v: Array, xi: Array, eta: Array, root: Array, order: int, unit: float
) -> tuple[Array, Array, Array]:
    """Fit a polynomial in (u, v), which are pixel offsets divided by ``unit``."""
    powers = sip_powers(order)
    design = np.column_stack([np.ones_like(u), u, v, *(u**p * v**q for p, q in powers)]) * root
    values = np.column_stack([xi, eta]) * root
    solved = np.linalg.lstsq(design, values, rcond=None)[0]
    higher = solved[3:] / np.array([unit ** (p + q) for p, q in powers]).reshape(-1, 1)
    return solved[0], np.asarray(solved[1:3].T / unit, np.float64), higher.T
