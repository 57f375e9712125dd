"""Which part of the stars of a magnitude a frame shows, by stars that were put there."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from scipy.spatial import cKDTree
from scipy.stats import beta

from nightflow.frame import Frame
from nightflow.instruments.profile import DetectionSettings
from nightflow.sources.detection import Detections
from nightflow.sources.find import FAST, Tools, find
from nightflow.sources.stamps import ring_offsets, stamp_indices
from nightflow.sources.stellar_profile import StellarProfile

__all__ = ["Completeness", "measure_completeness"]

_SPACING = 20.0
"""FWHM between stars that are put into one frame: few enough not to crowd it."""
_PAINTED = 4.0
"""Radius of a painted star in FWHM."""
_ONE_SIGMA = 0.6827


@dataclass(frozen=True, kw_only=True)
class Completeness:
    """Completeness in bins of magnitude, bright ones first; columns of equal length n.

    Attributes
    ----------
    mag : ndarray of float64, shape (n,)
        Middle of each bin.
    injected, found : ndarray of int64, shape (n,)
        Stars.
    fraction : ndarray of float64, shape (n,)
        ``found`` over ``injected``.
    low, high : ndarray of float64, shape (n,)
        68 % interval of the fraction: Jeffreys' for a binomial (Brown, Cai & DasGupta 2001).
    """

    mag: NDArray[np.float64]
    injected: NDArray[np.int64]
    found: NDArray[np.int64]

    @property
    def fraction(self) -> NDArray[np.float64]:
        """See the class."""
        return self.found / self.injected

    @property
    def low(self) -> NDArray[np.float64]:
        """See the class."""
        return self._quantile(0.5 * (1 - _ONE_SIGMA))

    @property
    def high(self) -> NDArray[np.float64]:
        """See the class."""
        return self._quantile(0.5 * (1 + _ONE_SIGMA))

    def magnitude_at(self, fraction: float) -> float:
        """Return the magnitude at which that part is found; NaN where the bins do not reach it.

        The fractions are first made to fall with magnitude (isotonic regression), then interpolated.
        """
        falling = isotonic_regression(self.fraction, weights=self.injected, increasing=False).x
        if not falling[-1] <= fraction <= falling[0]:
            return float("nan")
        return float(np.interp(-fraction, -falling, self.mag))

    def _quantile(self, probability: float) -> NDArray[np.float64]:
        missed = self.injected - self.found
        return np.asarray(beta.ppf(probability, self.found + 0.5, missed + 0.5))


def measure_completeness(
    frame: Frame,
    detection: DetectionSettings,
    profile: StellarProfile,
    zero_point: float,
    total_fwhm: float,
    edges: NDArray[np.float64],
    *,
    per_bin: int = 100,
    seed: int = 1,
    tools: Tools = FAST,
) -> Completeness:
    """Put stars into a frame at random places and look which of them are detected.

    The stars have the frame's profile and the noise of their own photons. Each copy of the frame gets as many
    as do not crowd it, and background and detection are done on it as on the frame itself. A star counts as
    found if a detection lies within half of the FWHM (or a pixel) of its place that the bare frame has not
    got there; so those that fall onto brighter ones are lost, as they would be.

    Parameters
    ----------
    frame : Frame
        In electrons, with variance and flags.
    detection : DetectionSettings
        Of the camera's profile.
    profile : StellarProfile
        Of the frame.
    zero_point : float
        Magnitude of a whole star of 1 electron on the frame.
    total_fwhm : float
        Radius, in FWHM, that counts as holding all the light.
    edges : ndarray of float64, shape (n + 1,)
        Of the bins, ascending magnitudes.
    per_bin : int
        Stars in each bin.
    seed : int
        Of places, magnitudes within their bins and photon noise.
    tools : Tools
        By which it is done.
    """
    rng = np.random.default_rng(seed)
    n_bins = len(edges) - 1
    bins = rng.permutation(np.repeat(np.arange(n_bins), per_bin))
    mag = edges[bins] + rng.uniform(0.0, 1.0, len(bins)) * np.diff(edges)[bins]
    electrons = 10 ** (-0.4 * (mag - zero_point))
    bare = find(frame, detection, tools).detections
    found = np.zeros(len(bins), bool)
    first = 0
    while first < len(bins):
        x, y = _places(rng, (frame.data.shape[0], frame.data.shape[1]), _SPACING * profile.fwhm)
        rows = slice(first, first + len(x))
        x, y = x[: len(bins) - first], y[: len(bins) - first]
        image = _paint(rng, frame, profile, total_fwhm, x, y, electrons[rows])
        found[rows] = _is_found(find(image, detection, tools).detections, bare, x, y, profile.fwhm)
        first += len(x)
    return Completeness(
        mag=0.5 * (edges[1:] + edges[:-1]),
        injected=np.bincount(bins, minlength=n_bins),
        found=np.bincount(bins[found], minlength=n_bins),
    )


def _places(
    rng: np.random.Generator, shape: tuple[int, int], spacing: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return random places, one in each cell of a grid that lies at random itself."""
    ny, nx = shape
    rows, columns = max(int(ny / spacing), 1), max(int(nx / spacing), 1)
    row, column = np.divmod(rng.permutation(rows * columns), columns)
    y = (row + rng.uniform(0.0, 1.0, len(row))) * ny / rows - 0.5
    x = (column + rng.uniform(0.0, 1.0, len(row))) * nx / columns - 0.5
    return x, y


def _paint(
    rng: np.random.Generator,
    frame: Frame,
    profile: StellarProfile,
    total_fwhm: float,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    electrons: NDArray[np.float64],
) -> Frame:
    """Return the frame with stars that give ``electrons`` each within the radius of a whole star."""
    offsets = ring_offsets(0, _PAINTED * profile.fwhm)
    rows, columns, inside = stamp_indices(x, y, offsets, (frame.data.shape[0], frame.data.shape[1]))
    distance2 = (columns - x[:, None]) ** 2 + (rows - y[:, None]) ** 2
    whole = profile.enclosed(total_fwhm * profile.fwhm)
    expected = electrons[:, None] / whole * profile.surface_brightness(distance2) * inside
    data = frame.data.copy()
    np.add.at(data, (rows, columns), rng.poisson(expected).astype(np.float32))
    return replace(frame, data=data)


def _is_found(
    detections: Detections,
    bare: Detections,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    fwhm: float,
) -> NDArray[np.bool_]:
    """Return which places have a detection that the bare frame has not got."""
    reach = max(1.0, 0.5 * fwhm)
    if not len(detections):
        return np.zeros(len(x), bool)
    seen = np.column_stack([detections.x, detections.y])
    if len(bare):
        known = cKDTree(np.column_stack([bare.x, bare.y]))
        distance, old = known.query(seen)
        # What has become twice as bright is the star that was put there, not the one that was there before.
        seen = seen[(distance > reach) | (detections.peak > 2 * bare.peak[old])]
    if not len(seen):
        return np.zeros(len(x), bool)
    nearest, _ = cKDTree(seen).query(np.column_stack([x, y]))
    return np.asarray(nearest <= reach)
