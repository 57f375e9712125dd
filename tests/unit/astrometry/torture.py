"""Star lists as hard as the sky makes them; the WCS each was made with is the truth.

Stars are drawn on the tangent plane, put onto the frame by astropy, merged with neighbours that no
telescope could part from them, and scattered by the centroid noise that their light, the sky's and the
width of their images leave. What a list holds beside them (fakes) is nowhere in the catalogue.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS, Sip
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from nightflow.astrometry.solution import Solution, SolveRequest
from nightflow.astrometry.spread import evenly
from nightflow.catalogs.local import LocalCatalogs
from nightflow.catalogs.stars import ReferenceStars
from tests.unit.astrometry.synthetic import SCALE, SHAPE, hint_off, make_wcs

Array = NDArray[np.float64]

NY, NX = SHAPE
CORNER = 0.5 * float(np.hypot(NX, NY))
EPOCH = 2016.0
LIMIT = 300
_ZERO_POINT = 24.0
_FAINTEST = 16.0
_SKY = 100.0
_DETECTED = 10.0
_BRIGHT_END = 1.45
"""Magnitudes by which star counts fall by a factor e."""


class Sky(LocalCatalogs):
    """One catalogue in memory."""

    def __init__(self, stars: ReferenceStars) -> None:
        super().__init__(Path("nowhere"))
        order = np.argsort(stars.mags["G"], kind="stable")
        self._stars = stars.take(order)
        self._vectors = _vectors(self._stars.ra, self._stars.dec)

    def names(self) -> list[str]:
        return ["made-up"]

    def covering(self, ra: float, dec: float, radius_deg: float, preferred: Sequence[str] = ()) -> list[str]:
        return self.names()

    def cone(
        self, name: str, ra: float, dec: float, radius_deg: float, *, limit_mag: float | None = None
    ) -> ReferenceStars:
        towards = _vectors(np.array([ra]), np.array([dec]))[0]
        return self._stars.take(self._vectors @ towards >= np.cos(np.radians(radius_deg)))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a list is made; lengths in pixels."""

    n_frame: int = 120
    """Catalogue stars on a frame, before ``richness``."""
    richness: tuple[float, ...] = (0.4, 1.0, 2.0)
    """Factors of which each list takes one."""
    core: int = 0
    """Stars of a cluster in the middle, beside those."""
    hint_error: float = 1.0
    hint_off: float = 0.3
    fwhm: float = 3.0
    along: float = 1.0
    """How much more the centroid scatters along the trail than across it."""
    pixel_noise: float = 0.02
    """Centroid noise that the pixel grid adds, and no error tells of."""
    rotation: float | None = None
    parity: int = 1
    distortion: float = 0.0
    """Relative, at the corners."""
    years: float = 0.0
    fakes: float = 0.1
    brightest: float = 9.0
    detected: int | None = None
    """Stars that are seen: the brightest; None: all that stand out of the noise."""
    clouded: bool = False
    trail: bool = False
    halo: bool = False
    flipped: bool = False


KINDS: dict[str, Recipe] = {
    "sparse": Recipe(n_frame=8, richness=(1.0,), detected=8, fakes=0.2, brightest=8.0),
    "globular": Recipe(n_frame=150, core=3000),
    "bulge": Recipe(n_frame=20_000, richness=(1.0,), hint_error=0.25, hint_off=0.2),
    "trailed": Recipe(fwhm=8.0, along=2.0),
    "defocused": Recipe(fwhm=8.0),
    "undersampled": Recipe(fwhm=1.2, pixel_noise=0.05),
    "clouded": Recipe(clouded=True),
    "flipped": Recipe(flipped=True, hint_off=0.05),
    "mirrored": Recipe(parity=-1),
    "lost": Recipe(hint_off=0.98),
    "distorted": Recipe(distortion=0.03),
    "old": Recipe(years=30.0),
    "satellite": Recipe(trail=True),
    "planet": Recipe(halo=True),
    "fakes": Recipe(fakes=0.3),
    "everything": Recipe(
        richness=(1.0, 2.0), distortion=0.03, fakes=0.3, hint_off=0.9, parity=-1, years=30.0, trail=True
    ),
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A list and what is true of it."""

    kind: str
    seed: int
    request: SolveRequest
    catalogs: LocalCatalogs
    truth: WCS
    noise: float
    """Radial rms in pixels by which the stars of the list are off their true places."""
    usable: int
    """Stars of the list that the catalogue has."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A piece of sky and where it falls on a frame."""

    recipe: Recipe
    rng: np.random.Generator
    truth: WCS
    catalog: ReferenceStars
    places: Array
    """0-based pixels of the stars on the frame at its epoch, shape (n, 2)."""
    magnitude: Array


def scene(kind: str, seed: int) -> Scene:
    """Return the sky of list or frame number ``seed`` of a kind."""
    recipe = KINDS[kind]
    rng = np.random.default_rng([*kind.encode(), seed])
    recipe = replace(recipe, n_frame=round(recipe.n_frame * rng.choice(recipe.richness)))
    truth = _truth(recipe, rng)
    catalog = _catalogue(truth, recipe, rng)
    places, magnitude = _on_frame(truth, _moved(catalog, recipe.years))
    return Scene(recipe=recipe, rng=rng, truth=truth, catalog=catalog, places=places, magnitude=magnitude)


def build(kind: str, seed: int) -> Case:
    """Return list number ``seed`` of a kind."""
    sky = scene(kind, seed)
    recipe, rng = sky.recipe, sky.rng
    places, flux, sigma, true = _detections((sky.places, sky.magnitude), recipe, rng)
    offset = np.hypot(*(places - true).T)
    noise = float(np.sqrt(np.mean(offset[offset < 1.0] ** 2)))
    fake_places, fake_flux = _fakes(len(places), flux, recipe, rng)
    places, flux = np.vstack([places, fake_places]), np.concatenate([flux, fake_flux])
    sigma = np.concatenate([sigma, rng.choice(sigma, len(fake_flux))])
    rows = evenly(places[:, 0], places[:, 1], flux, max(SHAPE) / 4.0, LIMIT)
    rows = rows[np.argsort(-flux[rows], kind="stable")]
    return Case(
        kind=kind,
        seed=seed,
        # every other list comes from where nobody measured them
        request=asked(sky, places[rows], flux[rows], None if seed % 2 else sigma[rows]),
        catalogs=Sky(sky.catalog),
        truth=sky.truth,
        noise=noise,
        usable=int(np.sum(rows < len(offset))),
    )


def asked(sky: Scene, places: Array, flux: Array, position_error: Array | None) -> SolveRequest:
    """Return what the ladder is asked of detections, brightest first; the hint is off as the recipe says."""
    recipe, truth = sky.recipe, sky.truth
    request = SolveRequest(
        x=places[:, 0],
        y=places[:, 1],
        flux=flux,
        position_error=position_error,
        shape=SHAPE,
        ra=float(truth.wcs.crval[0]),
        dec=float(truth.wcs.crval[1]),
        hint_error=recipe.hint_error,
        scale=SCALE,
        scale_tolerance=0.05,
        parity=0,
        epoch=EPOCH + recipe.years,
        previous_wcs=_turned(truth) if recipe.flipped else None,
        time_limit=30.0,
    )
    return hint_off(request, recipe.hint_off, float(sky.rng.uniform(0.0, 360.0)))


def corner_error(solution: Solution, truth: WCS) -> float:
    """Return the largest distance in pixels from the truth at the four corners."""
    x, y = [0.0, NX - 1.0, 0.0, NX - 1.0], [0.0, 0.0, NY - 1.0, NY - 1.0]
    found = SkyCoord(*solution.wcs.all_pix2world(x, y, 0), unit="deg")
    true = SkyCoord(*truth.all_pix2world(x, y, 0), unit="deg")
    return float(found.separation(true).arcsec.max() / SCALE)


def _vectors(ra: Array, dec: Array) -> Array:
    ra, dec = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def _truth(recipe: Recipe, rng: np.random.Generator) -> WCS:
    scale = SCALE * (1.0 + rng.uniform(-0.02, 0.02))
    wcs = make_wcs(
        rng.uniform(0.0, 360.0),
        rng.uniform(-75.0, 75.0),
        scale=scale,
        rotation=rng.uniform(0.0, 360.0),
        parity=recipe.parity,
    )
    if recipe.distortion:
        a, b = np.zeros((4, 4)), np.zeros((4, 4))
        cubic = rng.choice([-1.0, 1.0]) * recipe.distortion / CORNER**2
        a[3, 0] = a[1, 2] = b[0, 3] = b[2, 1] = cubic
        # the lens's axis is some tens of pixels off the middle: seen from there the cubic has squares
        off_x, off_y = rng.uniform(-40.0, 40.0, 2)
        a[2, 0], a[1, 1], a[0, 2] = -3.0 * cubic * off_x, -2.0 * cubic * off_y, -cubic * off_x
        b[0, 2], b[1, 1], b[2, 0] = -3.0 * cubic * off_y, -2.0 * cubic * off_x, -cubic * off_y
        wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
        wcs.sip = Sip(a, b, None, None, wcs.wcs.crpix)
        wcs.wcs.set()
    return wcs


def _turned(wcs: WCS) -> WCS:
    """Return the WCS of the same pointing before the meridian flip."""
    turned = WCS(naxis=2)
    turned.wcs.ctype, turned.wcs.crval = wcs.wcs.ctype, wcs.wcs.crval
    turned.wcs.crpix, turned.wcs.cd = wcs.wcs.crpix, -wcs.wcs.cd
    turned.wcs.set()
    return turned


def _catalogue(truth: WCS, recipe: Recipe, rng: np.random.Generator) -> ReferenceStars:
    """Draw stars over all that may be searched, and the cluster in the middle of the frame."""
    reach = (2.0 * recipe.hint_error + 0.1) * 3600.0 / SCALE + 1.2 * CORNER
    n = int(recipe.n_frame * np.pi * reach**2 / (NX * NY))
    radius, angle = reach * np.sqrt(rng.uniform(size=n)), rng.uniform(0.0, 2.0 * np.pi, n)
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    if recipe.detected is not None:
        # as many on the frame as asked for, neither fewer nor more
        outside = (np.abs(x) > 0.52 * NX) | (np.abs(y) > 0.52 * NY)
        x = np.concatenate([x[outside], rng.uniform(-0.47 * NX, 0.47 * NX, recipe.n_frame)])
        y = np.concatenate([y[outside], rng.uniform(-0.47 * NY, 0.47 * NY, recipe.n_frame)])
    # a cluster falls off as a Plummer sphere does
    u = rng.uniform(size=recipe.core)
    core, around = 60.0 * np.sqrt(u / (1.0 - 0.97 * u)), rng.uniform(0.0, 2.0 * np.pi, recipe.core)
    x, y = np.concatenate([x, core * np.cos(around)]), np.concatenate([y, core * np.sin(around)])
    sky = truth.wcs_pix2world(x + 0.5 * (NX - 1), y + 0.5 * (NY - 1), 0)
    n = len(x)
    motion = rng.normal(0.0, 15.0, (2, n)) * np.where(rng.uniform(size=n) < 0.05, 20.0, 1.0)
    return ReferenceStars(
        catalog="made-up",
        ra=sky[0],
        dec=sky[1],
        pmra=motion[0],
        pmdec=motion[1],
        epoch=EPOCH,
        ids=np.full(n, ""),
        mags={"G": np.maximum(_FAINTEST - rng.exponential(_BRIGHT_END, n), recipe.brightest)},
    )


def _moved(stars: ReferenceStars, years: float) -> ReferenceStars:
    """Return the stars after ``years``, by astropy."""
    if not years:
        return stars
    moved = SkyCoord(stars.ra, stars.dec, unit="deg").spherical_offsets_by(
        years * stars.pmra * units.mas, years * stars.pmdec * units.mas
    )
    return replace(stars, ra=moved.ra.deg, dec=moved.dec.deg)


def _on_frame(truth: WCS, stars: ReferenceStars) -> tuple[Array, Array]:
    """Return places, shape (n, 2), and magnitudes of the stars on the frame."""
    x, y = truth.wcs_world2pix(stars.ra, stars.dec, 0)
    near = (np.abs(x - 0.5 * NX) < 0.55 * NX) & (np.abs(y - 0.5 * NY) < 0.55 * NY)
    x, y = truth.all_world2pix(stars.ra[near], stars.dec[near], 0)
    inside = (x > 0) & (x < NX - 1) & (y > 0) & (y < NY - 1)
    return np.column_stack([x, y])[inside], stars.mags["G"][near][inside]


def _detections(
    seen: tuple[Array, Array], recipe: Recipe, rng: np.random.Generator
) -> tuple[Array, Array, Array, Array]:
    """Return places (n, 2), flux, error of each coordinate, and the true places (n, 2)."""
    true, magnitude = seen
    flux = 10.0 ** (-0.4 * (magnitude - _ZERO_POINT))
    if recipe.clouded:
        flux = np.where(true[:, 0] < 0.5 * NX, flux * 10.0**-1.6, flux)
    if recipe.halo:
        true, flux = _outside_halo(true, flux)
    places, flux, true = _merged(true, flux, recipe.fwhm)
    area = np.pi * (1.5 * recipe.fwhm) ** 2
    snr = flux / np.sqrt(flux + area * _SKY)
    kept = np.argsort(-snr)[: recipe.detected]
    kept = kept[snr[kept] > _DETECTED]
    sigma = np.maximum(recipe.fwhm / 2.355 / snr[kept], 0.01)
    angle = rng.uniform(0.0, np.pi)
    trail = np.array([np.cos(angle), np.sin(angle)])
    noise = rng.normal(size=(len(kept), 2))
    noise += (recipe.along - 1.0) * (noise @ trail)[:, None] * trail
    noise = sigma[:, None] * noise + rng.uniform(-1.0, 1.0, noise.shape) * np.sqrt(3.0) * recipe.pixel_noise
    return places[kept] + noise, flux[kept], sigma, true[kept]


def _merged(places: Array, flux: Array, fwhm: float) -> tuple[Array, Array, Array]:
    """Give each star the light of fainter ones within a FWHM, which vanish; return the true places, too."""
    merged, total, gone = places * flux[:, None], flux.copy(), np.zeros(len(flux), bool)
    neighbours = cKDTree(places).query_ball_point(places, fwhm)
    for star in np.argsort(-flux):
        if gone[star]:
            continue
        for other in neighbours[star]:
            if other != star and not gone[other] and flux[other] <= flux[star]:
                merged[star] += places[other] * flux[other]
                total[star] += flux[other]
                gone[other] = True
    alone = ~gone
    return merged[alone] / total[alone, None], total[alone], places[alone]


_HALO = np.array([700.0, 250.0])


def _outside_halo(places: Array, flux: Array) -> tuple[Array, Array]:
    visible = np.hypot(*(places - _HALO).T) > 120.0
    return places[visible], flux[visible]


def _fakes(n: int, flux: Array, recipe: Recipe, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return places and fluxes of what is no star; ``recipe.fakes`` of the list are spread over the frame."""
    count = round(recipe.fakes / (1.0 - recipe.fakes) * min(n, LIMIT))
    makers: list[Callable[[], Array]] = [lambda: rng.uniform([0, 0], [NX - 1, NY - 1], (count, 2))]
    if recipe.trail:
        makers.append(lambda: _trail(rng))
    if recipe.halo:
        makers.append(lambda: _HALO + rng.normal(0.0, 60.0, (60, 2)))
    places = [make() for make in makers]
    # what a trail or a halo leaves is bright
    levels = [rng.choice(flux, count), *(np.full(len(part), np.quantile(flux, 0.9)) for part in places[1:])]
    return np.vstack(places), np.concatenate(levels)


def _trail(rng: np.random.Generator) -> Array:
    along = np.sort(rng.uniform(0.0, 1.0, 40))[:, None]
    start, end = np.array([0.0, rng.uniform(0, NY)]), np.array([NX - 1.0, rng.uniform(0, NY)])
    return start + along * (end - start) + rng.normal(0.0, 0.5, (40, 2))
