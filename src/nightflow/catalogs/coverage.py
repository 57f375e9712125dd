"""Which sky a fetched catalogue holds, and how deep: what is there is never asked for again.

Coverage is kept in nested HEALPix pixels (Górski et al. 2005), each with the limiting magnitude to which it
was fetched, as ``coverage.json`` in the generation of the tiles: both are published in one rename. A
catalogue that was imported from a file has none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
from astropy import units as u
from astropy_healpix import HEALPix
from numpy.typing import NDArray

from nightflow.catalogs.cone import Cone
from nightflow.errors import ConfigurationError
from nightflow.sphere import angle_of_chord, unit_vectors

__all__ = ["Coverage", "circle_around", "pixels_of", "read_coverage", "tiled", "write_coverage"]

_FILE = "coverage.json"
_MARGIN = 0.001
"""Degrees around a pixel's corners: its edges bend, its corners are rounded."""

Pixels = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """What was fetched.

    Attributes
    ----------
    service : str
        Where from, such as "gaia".
    order : int
        Of the nested HEALPix pixels.
    limits : mapping of int to float
        Pixel -> faintest magnitude asked for there.
    """

    service: str
    order: int
    limits: Mapping[int, float] = field(default_factory=dict)

    def missing(self, cone: Cone) -> Pixels:
        """Return the pixels of a cone that were not fetched, or not so deep."""
        wanted = pixels_of(cone, self.order)
        known = np.array([self.limits.get(int(pixel), -np.inf) >= cone.limit_mag for pixel in wanted], bool)
        return wanted[~known]

    def with_fetched(self, pixels: Iterable[int], limit_mag: float) -> Self:
        """Return the coverage with pixels that were answered in full, to a limit."""
        fetched = {int(pixel): limit_mag for pixel in pixels}
        deepest = {pixel: max(limit, self.limits.get(pixel, limit)) for pixel, limit in fetched.items()}
        return replace(self, limits={**self.limits, **deepest})

    def joined(self, other: Coverage) -> Self:
        """Return what either of two holds of the same service."""
        pixels = {*self.limits, *other.limits}
        nothing = -np.inf
        limits = {one: max(self.limits.get(one, nothing), other.limits.get(one, nothing)) for one in pixels}
        return replace(self, limits=limits)


def pixels_of(cone: Cone, order: int) -> Pixels:
    """Return the pixels that a cone may touch."""
    found = _healpix(order).cone_search_lonlat(cone.ra * u.deg, cone.dec * u.deg, cone.radius * u.deg)
    return np.sort(np.asarray(found, np.int64))


def circle_around(pixels: Pixels, order: int, limit_mag: float) -> Cone:
    """Return a cone that holds all of the pixels whole, around the middle of their corners."""
    lon, lat = _healpix(order).boundaries_lonlat(pixels, step=1)
    corners = unit_vectors(lon.to_value(u.deg).ravel(), lat.to_value(u.deg).ravel())
    middle = corners.mean(axis=0)
    middle /= np.linalg.norm(middle)
    radius = angle_of_chord(float(np.linalg.norm(corners - middle, axis=1).max()))
    return Cone(
        ra=float(np.degrees(np.arctan2(middle[1], middle[0])) % 360.0) % 360.0,
        dec=float(np.degrees(np.arcsin(np.clip(middle[2], -1.0, 1.0)))),
        radius=radius + _MARGIN,
        limit_mag=limit_mag,
    )


def tiled(pixels: Pixels, order: int, largest: float, limit_mag: float) -> Iterator[tuple[Cone, Pixels]]:
    """Yield cones of at most ``largest`` degrees that hold all pixels between them, and the pixels of each.

    Where one cone does not do, the pixels are parted by their parents, down to single ones.
    """
    yield from _parted(pixels, order, 0, largest, limit_mag)


def _parted(
    pixels: Pixels, order: int, level: int, largest: float, limit_mag: float
) -> Iterator[tuple[Cone, Pixels]]:
    if not len(pixels):
        return
    if len(pixels) == 1 or _span(pixels, order) <= 2.0 * largest:
        cone = circle_around(pixels, order, limit_mag)
        if cone.radius <= largest or len(pixels) == 1:
            yield cone, pixels
            return
    parents = pixels >> 2 * (order - level)
    for parent in np.unique(parents):
        yield from _parted(pixels[parents == parent], order, level + 1, largest, limit_mag)


def _span(pixels: Pixels, order: int) -> float:
    """Return the distance in degrees from the first pixel to the farthest: at most what a circle spans."""
    lon, lat = _healpix(order).healpix_to_lonlat(pixels)
    vectors = unit_vectors(lon.to_value(u.deg), lat.to_value(u.deg))
    return angle_of_chord(float(np.linalg.norm(vectors - vectors[0], axis=1).max()))


def write_coverage(generation: Path, coverage: Coverage) -> None:
    """Write the coverage into the folder of a generation, by limits: pixels of one fetch share theirs."""
    by_limit: dict[float, list[int]] = {}
    for pixel, limit in sorted(coverage.limits.items()):
        by_limit.setdefault(limit, []).append(pixel)
    content = {
        "service": coverage.service,
        "order": coverage.order,
        "fetched": [{"limit_mag": limit, "pixels": pixels} for limit, pixels in sorted(by_limit.items())],
    }
    (generation / _FILE).write_text(json.dumps(content))


def read_coverage(generation: Path) -> Coverage | None:
    """Return the coverage of a generation; None where the catalogue was imported from a file.

    Raises
    ------
    ConfigurationError
        The file is damaged.
    """
    file = generation / _FILE
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text())
        limits = {
            int(pixel): float(part["limit_mag"]) for part in content["fetched"] for pixel in part["pixels"]
        }
        return Coverage(service=str(content["service"]), order=int(content["order"]), limits=limits)
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{file}: damaged ({error}); remove the catalogue's folder and fetch it again"
        ) from error


def _healpix(order: int) -> HEALPix:
    return HEALPix(nside=2**order, order="nested")
