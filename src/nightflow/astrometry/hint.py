"""The pointing-hint solver: triangles of the frame against triangles of the local catalogue.

Scale and pointing are known roughly, rotation and, unless the profile says, parity are not. Similar
triangles propose transforms; right ones agree with each other, so transforms are gathered in cells of
(centre, rotation, parity), the fullest cells are tried on all stars, and the best are refined and verified.
The sky is searched in patches, nearest to the hint first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from nightflow.astrometry.accept import Deadline, verified
from nightflow.astrometry.distortion import Distortion
from nightflow.astrometry.geometry import field_radius
from nightflow.astrometry.plate import Plate
from nightflow.astrometry.projection import from_plane, to_plane
from nightflow.astrometry.reference import reference_stars
from nightflow.astrometry.solution import Solution, SolveRequest
from nightflow.astrometry.spread import cell_size, evenly
from nightflow.astrometry.transforms import CELL, Transforms, gathered, similarities
from nightflow.astrometry.triangles import make_triangles, match_triangles
from nightflow.catalogs.local import LocalCatalogs
from nightflow.catalogs.stars import ReferenceStars
from nightflow.errors import NoSolution
from nightflow.instruments.profile import AstrometrySettings

__all__ = ["solve_hint"]

_POSITION_ERROR = 1.5
"""Pixels by which a vertex may be off: centroid, distortion, proper motion."""
_SIDE_LIMITS = (0.12, 0.55)
"""Longest side of a triangle in units of the frame's diagonal."""
_NEAR = 0.25
"""Radius of the first patch in units of the frame's diagonal."""
_CELLS_TRIED = 64
_REFINED = 6
_SCORING_STARS = 60
_SCORING_RADIUS = 0.01
"""In units of the frame's diagonal: what a transform from one triangle is good for at the far edge."""
_SCORING_DEPTH = 3.0
"""Catalogue stars for each scoring star, per area: in a deep catalogue every place has a star near it."""
_MOST_STARS = 1500
"""Catalogue stars of a patch that triangles are made of."""
_MOST_SCORING_STARS = 20_000
_SLACK = 0.01
"""What a triangle's scale may be off by beyond the tolerance: its vertices are not exact."""
_WIDEST_TOLERANCE = 0.5


@dataclass(frozen=True, kw_only=True)
class _Effort:
    """How many stars take part."""

    image_stars: int
    density: float
    """Catalogue stars for each image star, per area."""


_EFFORTS = (_Effort(image_stars=24, density=1.5), _Effort(image_stars=45, density=1.5))


def solve_hint(request: SolveRequest, catalogs: LocalCatalogs, settings: AstrometrySettings) -> Solution:
    """Solve a frame whose pointing and scale are roughly known.

    Parameters
    ----------
    request : SolveRequest
        Needs ra, dec and scale.
    catalogs : LocalCatalogs
        Reference stars.
    settings : AstrometrySettings
        The bar a solution must pass.

    Raises
    ------
    NoSolution
        No hint, too few stars, nothing verifiable found, or the time limit is over.
    """
    if request.ra is None or request.dec is None:
        raise NoSolution("no pointing hint in the header")
    if request.scale is None:
        raise NoSolution("scale unknown: set astrometry.scale in the camera's profile")
    if len(request.x) < settings.minimum_matches:
        raise NoSolution(f"{len(request.x)} stars detected, {settings.minimum_matches} needed")
    deadline = Deadline(request.time_limit)
    search = _Search(request, catalogs, settings, request.ra, request.dec, request.scale, deadline)
    for effort in _EFFORTS:
        for centre, radius in _patches(request.hint_error, search.diagonal):
            deadline.check()
            solution = search.patch(centre, radius, effort)
            if solution is not None:
                return solution
        if len(request.x) <= effort.image_stars:
            break
    raise NoSolution(search.verdict())


class _Search:
    """One frame's search over the patches of sky around the hint."""

    def __init__(
        self,
        request: SolveRequest,
        catalogs: LocalCatalogs,
        settings: AstrometrySettings,
        ra: float,
        dec: float,
        scale: float,
        deadline: Deadline,
    ) -> None:
        self._request, self._settings, self._deadline = request, settings, deadline
        self._scale = scale / 3600.0
        self._area = float(np.prod(request.shape)) * self._scale**2
        self._tolerance = min(request.scale_tolerance, _WIDEST_TOLERANCE)
        self.diagonal = 2.0 * field_radius(request.shape, scale) * (1.0 + self._tolerance)
        self._stars = reference_stars(
            catalogs,
            request,
            settings,
            ra=ra,
            dec=dec,
            radius=request.hint_error + self.diagonal / 2.0,
            minimum=settings.minimum_matches,
        )
        xi, eta = to_plane(self._stars.ra, self._stars.dec, ra, dec)
        self._hint = (ra, dec)
        self._plane = xi + 1j * eta
        self._middle = ((request.shape[1] - 1) / 2.0, (request.shape[0] - 1) / 2.0)
        self._flat = _only_one(request)
        self._pixels = _offsets(request, self._middle, self._flat)
        self._tried = 0
        self._refusals: list[str] = []

    def verdict(self) -> str:
        """Return why nothing was found."""
        text = (
            f"{len(self._request.x)} stars against {len(self._stars)} of {self._stars.catalog} within "
            f"{self._request.hint_error:g} deg and the frame: no transform verified, {self._tried} tried"
        )
        return "; ".join([text, *self._refusals[-1:]])

    def patch(self, centre: complex, radius: float, effort: _Effort) -> Solution | None:
        """Search for frames whose middle lies within ``radius`` of ``centre`` (degrees on the plane)."""
        # far from the hint its plane is stretched; each patch has a plane of its own
        stretch = 1.0 + np.radians(abs(centre)) ** 2
        inside = np.abs(self._plane - centre) <= stretch * (radius + self.diagonal / 2.0)
        if inside.sum() < self._settings.minimum_matches:
            return None
        stars, origin, plane = self._stars.take(inside), self._hint, self._plane[inside]
        if centre:
            origin = _point(centre, *self._hint)
            xi, eta = to_plane(stars.ra, stars.dec, *origin)
            plane = xi + 1j * eta
        transforms = self._propose(stars, plane, effort)
        transforms = transforms.take(np.abs(transforms.b) <= stretch * radius + CELL * self.diagonal)
        self._tried += len(transforms)
        best = self._score(gathered(transforms, self.diagonal, _CELLS_TRIED), stars, plane)
        for rank in range(min(len(best), _REFINED)):
            self._deadline.check()
            try:
                return verified(
                    self._plate(best, rank, origin),
                    self._request,
                    self._settings,
                    self._stars,
                    backend="hint",
                    start_radius=_SCORING_RADIUS * self.diagonal / self._scale,
                    hypotheses=max(self._tried, 1),
                )
            except NoSolution as refusal:
                self._refusals.append(str(refusal))
        return None

    def _propose(self, stars: ReferenceStars, plane: NDArray[np.complex128], effort: _Effort) -> Transforms:
        """Return the transforms that similar triangles propose and that fit what is known."""
        chosen = self._even_image(effort.image_stars)
        per_area = effort.density * len(chosen) / self._area
        sky = plane[_even_sky(stars, plane, per_area, _MOST_STARS)]
        tolerance = self._tolerance + _SLACK
        low, high = _SIDE_LIMITS[0] * self.diagonal, _SIDE_LIMITS[1] * self.diagonal
        image_triangles = make_triangles(
            self._pixels[chosen], shortest=low / self._scale, longest=high / self._scale
        )
        sky_triangles = make_triangles(
            sky,
            shortest=(1.0 - tolerance) * low,
            longest=(1.0 + tolerance) * high,
            check=self._deadline.check,
        )
        rows, partners = match_triangles(
            image_triangles,
            sky_triangles,
            scale=self._scale,
            scale_tolerance=self._tolerance,
            position_error=_POSITION_ERROR,
        )
        self._deadline.check()
        transforms = similarities(
            self._pixels[chosen][image_triangles.vertices[rows]],
            sky[sky_triangles.vertices[partners]],
            mirrored=image_triangles.sense[rows] != sky_triangles.sense[partners],
        )
        return transforms.take(self._allowed(transforms))

    def _even_image(self, limit: int) -> NDArray[np.intp]:
        cell = cell_size(self._request.shape)
        return evenly(self._pixels.real, self._pixels.imag, self._request.flux, cell, limit)

    def _allowed(self, transforms: Transforms) -> NDArray[np.bool_]:
        """Return which transforms have the camera's scale and parity."""
        allowed = np.abs(np.abs(transforms.a) / self._scale - 1.0) <= self._tolerance + _SLACK
        if self._request.parity:
            # east grows to the left on the sky: the mirrored transform is the sky as it is
            allowed &= transforms.mirrored == (self._request.parity > 0)
        return np.asarray(allowed)

    def _score(
        self, transforms: Transforms, stars: ReferenceStars, plane: NDArray[np.complex128]
    ) -> Transforms:
        """Return the transforms in order of how many stars fall on catalogue stars."""
        if not len(transforms):
            return transforms
        z = self._pixels[self._even_image(_SCORING_STARS)]
        per_area = _SCORING_DEPTH * len(z) / self._area
        if len(plane) > per_area * np.pi * self.diagonal**2:
            plane = plane[_even_sky(stars, plane, per_area, _MOST_SCORING_STARS)]
        w = np.where(transforms.mirrored[:, None], np.conj(z), z) * transforms.a[:, None]
        w = w + transforms.b[:, None]
        tree = cKDTree(np.column_stack([plane.real, plane.imag]))
        distance, _ = tree.query(
            np.stack([w.real, w.imag], axis=-1), distance_upper_bound=_SCORING_RADIUS * self.diagonal
        )
        hits = np.isfinite(distance).sum(axis=1)
        order = np.argsort(-hits, kind="stable")
        return transforms.take(order[hits[order] >= min(self._settings.minimum_matches, 4)])

    def _plate(self, transforms: Transforms, row: int, origin: tuple[float, float]) -> Plate:
        """Return the plate of a transform onto the plane that touches the sky at ``origin``."""
        a, b = transforms.a[row], transforms.b[row]
        sign = -1.0 if transforms.mirrored[row] else 1.0
        ra0, dec0 = _point(complex(b), *origin)
        # north turns a little on the way from the point of contact to the middle of the frame
        turn = _convergence(ra0, dec0, *origin)
        a = a * np.exp(1j * turn)
        return Plate(
            ra0=ra0,
            dec0=dec0,
            x0=self._middle[0],
            y0=self._middle[1],
            cd=np.array([[a.real, -sign * a.imag], [a.imag, sign * a.real]]),
            order=0,
            a=np.array(self._flat.a if self._flat else ()),
            b=np.array(self._flat.b if self._flat else ()),
            given=self._flat.order if self._flat else 0,
        )


def _only_one(request: SolveRequest) -> Distortion | None:
    """Return the camera's distortion, where it is known which one of this frame's parity that is."""
    fitting = [one for one in request.distortions if one.shape == request.shape]
    return fitting[0] if len(fitting) == 1 else None


def _offsets(
    request: SolveRequest, middle: tuple[float, float], flat: Distortion | None
) -> NDArray[np.complex128]:
    """Return the offsets of the detections from the middle of the frame (pixels), without the distortion."""
    u, v = request.x - middle[0], request.y - middle[1]
    if flat is not None:
        u, v = flat.flattened(u, v)
    return u + 1j * v


def _patches(hint_error: float, diagonal: float) -> Iterator[tuple[complex, float]]:
    """Yield centre and radius (degrees) of discs that cover the hint's error, nearest first."""
    near = _NEAR * diagonal
    if hint_error > near:
        yield 0j, near
    radius = min(hint_error, diagonal)
    if hint_error <= radius:
        yield 0j, radius
        return
    step = radius * np.sqrt(3.0)
    count = int(np.ceil(hint_error / step)) + 1
    k = np.arange(-count, count + 1)
    lattice = (step * (k[:, None] + 0.5 * k[None, :]) + 1j * step * np.sqrt(0.75) * k[None, :]).ravel()
    lattice = lattice[np.abs(lattice) <= hint_error + radius]
    for centre in lattice[np.argsort(np.abs(lattice), kind="stable")]:
        yield complex(centre), radius


def _even_sky(
    stars: ReferenceStars, plane: NDArray[np.complex128], per_area: float, most: int
) -> NDArray[np.intp]:
    """Return catalogue stars of about the density ``per_area``, evenly, brightest first."""
    cell = np.sqrt(2.0 / per_area)
    column, row = np.floor(plane.real / cell), np.floor(plane.imag / cell)
    cells = len(np.unique(column + 1j * row))
    limit = min(int(np.ceil(2.0 * cells)), most)
    return evenly(plane.real, plane.imag, -stars.brightness(), float(cell), limit)


def _point(place: complex, ra0: float, dec0: float) -> tuple[float, float]:
    """Return right ascension and declination of a place on the plane about (ra0, dec0)."""
    ra, dec = from_plane(np.array([place.real]), np.array([place.imag]), ra0, dec0)
    return float(ra[0]), float(dec[0])


def _convergence(ra: float, dec: float, ra0: float, dec0: float) -> float:
    """Return the angle (radians) by which north at (ra, dec) is turned on the plane about (ra0, dec0)."""
    step = 1e-4 if dec < 89.0 else -1e-4
    xi, eta = to_plane(np.array([ra, ra]), np.array([dec, dec + step]), ra0, dec0)
    north = (complex(xi[1] - xi[0], eta[1] - eta[0])) * np.sign(step)
    return float(np.angle(1j) - np.angle(north))
