"""The stars of a field: a real bright end and a faint end drawn from a luminosity function.

The bright stars are a Tycho-2 extract. The faint ones follow the star counts of the galactic disc, whose
logarithmic slope falls from 0.38 per magnitude at V = 11 to 0.2 at V = 18 (about as in Bahcall & Soneira
1980, ApJS 44, 73), with two populations in colour, dwarfs and giants, that redden towards faint magnitudes.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from importlib import resources
from typing import Self

import numpy as np
from numpy.typing import NDArray

from nightflow.errors import ConfigurationError

__all__ = ["BAND_SLOPES", "Stars", "bright_stars", "draw_field", "magnitude_in", "star_counts"]

Array = NDArray[np.float64]

BAND_SLOPES: dict[str, float] = {"B": 1.75, "V": 0.0, "R": -1.0, "I": -1.95}
"""Magnitude in a band minus V, in units of the colour V - R; straight, near main-sequence colours (Vega)."""

_MAS_PER_DEGREE = 3.6e6
_TARGET_MATCH_ARCSEC = 5.0
_TARGET_CLEAR_ARCSEC = 25.0
_REFERENCE_MAGNITUDE = 16.0


@dataclass(frozen=True, kw_only=True)
class Stars:
    """Stars of one field; columns of equal length n.

    Attributes
    ----------
    ra, dec : ndarray, shape (n,)
        ICRS degrees at ``epoch``.
    pmra, pmdec : ndarray, shape (n,)
        mas/yr, pmra with the cosine of the declination in it.
    epoch : float
        Julian year.
    v : ndarray, shape (n,)
        V magnitude (Vega).
    v_r : ndarray, shape (n,)
        Colour V - R.
    is_target : ndarray of bool, shape (n,)
        True for the target alone.
    """

    ra: Array
    dec: Array
    pmra: Array
    pmdec: Array
    epoch: float
    v: Array
    v_r: Array
    is_target: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ra)

    def at_epoch(self, epoch: float) -> Self:
        """Return the stars moved by their proper motion."""
        years = epoch - self.epoch
        return replace(
            self,
            ra=self.ra + years * self.pmra / _MAS_PER_DEGREE / np.cos(np.radians(self.dec)),
            dec=self.dec + years * self.pmdec / _MAS_PER_DEGREE,
            epoch=epoch,
        )


def magnitude_in(band: str, v: Array, v_r: Array) -> Array:
    """Return magnitudes in ``band``.

    Raises
    ------
    ConfigurationError
        The band is not one of `BAND_SLOPES`.
    """
    if band not in BAND_SLOPES:
        raise ConfigurationError(f"filter {band!r}: the simulator knows {', '.join(BAND_SLOPES)}")
    return v + BAND_SLOPES[band] * v_r


def star_counts(v: Array) -> Array:
    """Return the relative number of stars brighter than ``v``; 1 at V = 16."""
    m = np.asarray(v, dtype=float) - _REFERENCE_MAGNITUDE
    return np.asarray(10.0 ** (0.255 * m - 0.0125 * m**2))


def bright_stars(file_name: str) -> tuple[Array, Array, Array]:
    """Return ra, dec (ICRS degrees, epoch 2000) and VT of an extract that comes with the simulator.

    VT stands for V: they differ by 0.09 (BT - VT), and the extract holds no BT.
    """
    text = resources.files("nightflow.simulate").joinpath("data", file_name).read_text()
    rows = list(csv.DictReader(text.splitlines()))
    ra, dec, vt = (np.array([float(row[column]) for row in rows]) for column in ("ra", "dec", "vt"))
    return ra, dec, vt


def draw_field(
    rng: np.random.Generator,
    *,
    ra: float,
    dec: float,
    half_width: float,
    bright_file: str | None,
    bright_limit: float,
    faint_limit: float,
    density: float,
    target_v: float,
    target_v_r: float,
) -> Stars:
    """Return the stars around a target.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of everything that is drawn.
    ra, dec : float
        The target, ICRS degrees.
    half_width : float
        Degrees on either side of the target that are filled.
    bright_file : str or None
        Extract of real stars, complete to ``bright_limit``; None: all stars are drawn, from V = 7.
    bright_limit, faint_limit : float
        V between which stars are drawn.
    density : float
        Drawn stars per square degree brighter than V = 16.
    target_v, target_v_r : float
        The target's magnitude (unless it is in the extract) and colour.
    """
    real = bright_stars(bright_file) if bright_file else (np.array([]), np.array([]), np.array([]))
    brightest = bright_limit if bright_file else 7.0
    drawn = _draw_stars(rng, (ra, dec), half_width, (brightest, faint_limit), density)
    columns = [np.concatenate(pair) for pair in zip(real, drawn, strict=True)]
    return _with_target(rng, (columns[0], columns[1], columns[2]), (ra, dec), target_v, target_v_r)


def _draw_stars(
    rng: np.random.Generator,
    center: tuple[float, float],
    half_width: float,
    limits: tuple[float, float],
    density: float,
) -> tuple[Array, Array, Array]:
    grid = np.linspace(*limits, 400)
    counts = star_counts(grid)
    expected = density * (2 * half_width) ** 2 * (counts[-1] - counts[0])
    n_stars = int(rng.poisson(expected))
    v = np.interp(rng.uniform(counts[0], counts[-1], n_stars), counts, grid)
    dec = center[1] + rng.uniform(-half_width, half_width, n_stars)
    ra = center[0] + rng.uniform(-half_width, half_width, n_stars) / np.cos(np.radians(dec))
    clear = _separation(ra, dec, *center) > _TARGET_CLEAR_ARCSEC
    # A neighbour within the aperture would make the transit shallower than its truth.
    return ra[clear] % 360.0, dec[clear], v[clear]


def _with_target(
    rng: np.random.Generator,
    stars: tuple[Array, Array, Array],
    target: tuple[float, float],
    target_v: float,
    target_v_r: float,
) -> Stars:
    ra, dec, v = stars
    separation = _separation(ra, dec, *target)
    if not np.any(separation < _TARGET_MATCH_ARCSEC):
        ra, dec, v = np.append(ra, target[0]), np.append(dec, target[1]), np.append(v, target_v)
        separation = np.append(separation, 0.0)
    is_target = np.arange(len(ra)) == np.argmin(separation)
    v_r = np.where(is_target, target_v_r, _draw_colors(rng, v))
    pmra, pmdec = _draw_proper_motions(rng, v)
    return Stars(ra=ra, dec=dec, pmra=pmra, pmdec=pmdec, epoch=2000.0, v=v, v_r=v_r, is_target=is_target)


def _separation(ra: Array, dec: Array, ra0: float, dec0: float) -> Array:
    delta_ra = (ra - ra0 + 180.0) % 360.0 - 180.0
    return np.asarray(3600.0 * np.hypot(delta_ra * np.cos(np.radians(dec0)), dec - dec0))


def _draw_colors(rng: np.random.Generator, v: Array) -> Array:
    """Draw V - R: dwarfs of type F to K, and giants, fewer of them among the faint."""
    faintness = np.clip((v - 10.0) / 8.0, 0.0, 1.0)
    is_giant = rng.random(len(v)) < 0.35 * (1.0 - faintness)
    dwarf = rng.normal(0.34 + 0.16 * faintness, 0.09)
    giant = rng.normal(0.62, 0.12, len(v))
    return np.clip(np.where(is_giant, giant, dwarf), -0.05, 1.3)


def _draw_proper_motions(rng: np.random.Generator, v: Array) -> tuple[Array, Array]:
    """Draw proper motions whose spread falls with distance, hence with magnitude."""
    spread = 15.0 * 10.0 ** (-0.1 * np.clip(v - 9.0, 0.0, 9.0))
    return rng.normal(0.0, spread), rng.normal(0.0, spread)
