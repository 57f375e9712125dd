"""A made-up mosaic: the truth is the simulator's pointing, with a distortion and crooked chips of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from astropy.wcs.utils import fit_wcs_from_points
from numpy.typing import NDArray

from nightflow.astrometry.scamp.frames import ChipFrame, Exposure
from nightflow.astrometry.solution import SolveRequest
from nightflow.catalogs.local import LocalCatalogs
from nightflow.catalogs.stars import ReferenceStars
from nightflow.simulate.optics import Pointing
from tests.unit.astrometry.synthetic import make_stars, store

SHAPE = (1024, 1056)
SCALE = 0.3
RA, DEC = 150.0, 30.0
GAP = 60
CUBIC, QUADRATIC = 1.2e-9, 4.0e-7
"""Shares of the distance from the axis, per square pixel and per pixel: 18" in the corner of 18 chips."""


@dataclass(frozen=True)
class Chip:
    """Where a chip lies: its middle from the axis in pixels, and by how much it is turned (degrees)."""

    name: str
    x: float
    y: float
    turn: float


def chips(columns: int = 6, rows: int = 3, seed: int = 5) -> list[Chip]:
    """Return chips on a grid, each put down a few pixels off and a little turned, as chips are."""
    rng = np.random.default_rng(seed)
    ny, nx = SHAPE
    return [
        Chip(
            f"CCD{row * columns + column + 1:02d}",
            (column - (columns - 1) / 2) * (nx + GAP) + rng.normal(0.0, 5.0),
            (row - (rows - 1) / 2) * (ny + GAP) + rng.normal(0.0, 5.0),
            rng.normal(0.0, 0.05),
        )
        for row in range(rows)
        for column in range(columns)
    ]


def pointing(ra: float = RA, dec: float = DEC, rotation: float = 12.0) -> Pointing:
    return Pointing(ra=ra, dec=dec, x=0.0, y=0.0, scale=SCALE, rotation=rotation, parity=1, flipped=False)


def pixels(
    where: Pointing, chip: Chip, ra: NDArray[np.float64], dec: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the true 0-based pixels of places on the sky: TAN, then the optics, then the chip."""
    u, v = where.to_pixels(ra, dec)
    stretch = 1.0 + CUBIC * (u**2 + v**2) + QUADRATIC * u
    angle = np.radians(chip.turn)
    du, dv = u * stretch - chip.x, v * stretch - chip.y
    x = np.cos(angle) * du + np.sin(angle) * dv + (SHAPE[1] - 1) / 2
    y = -np.sin(angle) * du + np.cos(angle) * dv + (SHAPE[0] - 1) / 2
    return x, y


def sky(density: float, radius: float = 0.42, seed: int = 1) -> ReferenceStars:
    """Return ``density`` stars a chip of 18, to G = 20."""
    area = np.pi * radius**2 / (np.prod(SHAPE) * (SCALE / 3600.0) ** 2)
    stars = make_stars(RA, DEC, radius, int(density * area), seed)
    return replace(stars, mags={"G": stars.mags["G"] + 7.0})


def catalogs(folder: Path, stars: ReferenceStars) -> LocalCatalogs:
    return store(folder, stars)


def request(
    where: Pointing, chip: Chip, stars: ReferenceStars, rng: np.random.Generator, **known: object
) -> SolveRequest:
    """Return a chip's detections: photon noise in the centroids, a tenth lost, a tenth made up."""
    x, y = pixels(where, chip, stars.ra, stars.dec)
    ny, nx = SHAPE
    with np.errstate(invalid="ignore"):
        inside = (x > 0) & (x < nx - 1) & (y > 0) & (y < ny - 1)
    inside &= rng.uniform(size=len(x)) < 0.9
    flux = 10 ** (-0.4 * (stars.mags["G"][inside] - 27.5))
    n_false = int(0.1 * inside.sum())
    flux = np.append(flux, rng.choice(flux, n_false))
    x = np.append(x[inside], rng.uniform(0, nx - 1, n_false))
    y = np.append(y[inside], rng.uniform(0, ny - 1, n_false))
    # FWHM of 3 pixels over the root of the photons, and 0.02 pixels of the air
    error = np.hypot(3.0 / 2.355 / np.sqrt(flux), 0.02)
    order = np.argsort(-flux)
    x, y = x + rng.normal(0.0, error), y + rng.normal(0.0, error)
    facts: dict[str, object] = {"ra": where.ra, "dec": where.dec, "hint_error": 0.05, "scale": SCALE}
    return SolveRequest(
        x=x[order],
        y=y[order],
        flux=flux[order],
        position_error=error[order],
        shape=SHAPE,
        scale_tolerance=0.05,
        parity=0,
        epoch=stars.epoch,
        **{**facts, **known},  # type: ignore[arg-type]
    )


def rough_wcs(where: Pointing, chip: Chip, off: float = 0.5) -> WCS:
    """Return a linear WCS of a chip: it has no distortion, and is ``off`` arcsec away from the best one."""
    grid_ra, grid_dec = _grid_on(where, chip)
    x, y = pixels(where, chip, grid_ra, grid_dec)
    u, v = where.to_pixels(grid_ra, grid_dec)
    design = np.column_stack([u, v, np.ones_like(u)])
    (along_x, _, _, _), (along_y, _, _, _) = (np.linalg.lstsq(design, one, rcond=None) for one in (x, y))
    to_chip = np.array([along_x[:2], along_y[:2]])
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [where.ra, where.dec + off / 3600.0]
    wcs.wcs.cd = where.cd @ np.linalg.inv(to_chip)
    wcs.wcs.crpix = np.array([along_x[2], along_y[2]]) + 1.0
    wcs.wcs.set()
    return wcs


def true_wcs(where: Pointing, chip: Chip) -> WCS:
    """Return a SIP WCS of order 4 that astropy fits to the truth, good to a hundredth of a pixel."""
    ra, dec = _grid_on(where, chip)
    x, y = pixels(where, chip, ra, dec)
    sky = SkyCoord(ra, dec, unit="deg")
    middle = SkyCoord(ra[len(ra) // 2], dec[len(dec) // 2], unit="deg")
    return fit_wcs_from_points((x, y), sky, proj_point=middle, sip_degree=4)


def exposure(
    name: str, where: Pointing, layout: list[Chip], stars: ReferenceStars, *, seed: int = 3, off: float = 0.5
) -> Exposure:
    """Return an exposure whose chips start from `rough_wcs`."""
    rng = np.random.default_rng(seed)
    return Exposure(
        name=name,
        chips=tuple(
            ChipFrame(
                name=chip.name, request=request(where, chip, stars, rng), start=rough_wcs(where, chip, off)
            )
            for chip in layout
        ),
        exptime=60.0,
        filter="r",
        mjd=57388.0,
    )


def worst_error(wcs: WCS, where: Pointing, chip: Chip) -> float:
    """Return the largest distance in arcsec from the truth, over the whole chip, its corners included."""
    ra, dec = _grid_on(where, chip)
    x, y = pixels(where, chip, ra, dec)
    found = SkyCoord(*wcs.all_pix2world(x, y, 0), unit="deg")
    return float(found.separation(SkyCoord(ra, dec, unit="deg")).arcsec.max())


def _grid_on(where: Pointing, chip: Chip) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return places on the sky whose true pixels cover the chip, edges included to within a pixel."""
    ny, nx = SHAPE
    y, x = (one.ravel() for one in np.meshgrid(np.linspace(0, ny - 1, 9), np.linspace(0, nx - 1, 9)))
    angle = np.radians(chip.turn)
    dx, dy = x - (nx - 1) / 2, y - (ny - 1) / 2
    du = np.cos(angle) * dx - np.sin(angle) * dy + chip.x
    dv = np.sin(angle) * dx + np.cos(angle) * dy + chip.y
    u, v = du, dv
    for _ in range(30):
        stretch = 1.0 + CUBIC * (u**2 + v**2) + QUADRATIC * u
        u, v = du / stretch, dv / stretch
    xi, eta = where.cd @ np.stack([u, v])
    tangent = WCS(naxis=2)
    tangent.wcs.ctype, tangent.wcs.crval = ["RA---TAN", "DEC--TAN"], [where.ra, where.dec]
    tangent.wcs.cdelt, tangent.wcs.crpix = [1.0, 1.0], [1.0, 1.0]
    ra, dec = tangent.all_pix2world(xi, eta, 0)
    return np.asarray(ra), np.asarray(dec)
