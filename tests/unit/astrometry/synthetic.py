"""Made-up skies and frames whose true WCS is known, by astropy and not by the code under test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS, Sip
from numpy.typing import NDArray

from nightflow.astrometry.solution import SolveRequest
from nightflow.catalogs.local import LocalCatalogs
from nightflow.catalogs.stars import ReferenceStars
from nightflow.catalogs.tiles import write_catalog

SHAPE = (800, 1000)
SCALE = 3.0


def make_stars(ra: float, dec: float, radius: float, n: int, seed: int = 1) -> ReferenceStars:
    """Return ``n`` stars spread evenly over a cap, with magnitudes that grow in number to the faint end."""
    rng = np.random.default_rng(seed)
    distance = np.degrees(np.arccos(1.0 - rng.uniform(size=n) * (1.0 - np.cos(np.radians(radius)))))
    centre = SkyCoord(ra, dec, unit="deg")
    place = centre.directional_offset_by(rng.uniform(0, 360, n) * _DEG, distance * _DEG)
    zeros = np.zeros(n)
    return ReferenceStars(
        catalog="made-up",
        ra=place.ra.deg,
        dec=place.dec.deg,
        pmra=zeros,
        pmdec=zeros,
        epoch=2016.0,
        ids=np.array([f"s{i}" for i in range(n)]),
        mags={"G": 13.0 - rng.exponential(1.2, n)},
    )


def store(folder: Path, stars: ReferenceStars) -> LocalCatalogs:
    write_catalog(folder, stars, source="made up", created="2026-01-01T00:00:00+00:00")
    return LocalCatalogs(folder)


def make_wcs(
    ra: float,
    dec: float,
    *,
    scale: float = SCALE,
    rotation: float = 0.0,
    parity: int = 1,
    shape: tuple[int, int] = SHAPE,
    distortion: float = 0.0,
) -> WCS:
    """Return a WCS about the middle of the frame; ``distortion`` in pixels at half the width."""
    angle = np.radians(rotation)
    # +y points to position angle `rotation`; +x is 90 degrees to the west of it on the sky as it is
    north, east = np.cos(angle), np.sin(angle)
    cd = np.array([[-parity * north, east], [parity * east, north]]) * scale / 3600.0
    wcs = WCS(naxis=2)
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [(shape[1] + 1) / 2.0, (shape[0] + 1) / 2.0]
    wcs.wcs.cd = cd
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    if distortion:
        wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
        a, b = np.zeros((4, 4)), np.zeros((4, 4))
        half = shape[1] / 2.0
        a[3, 0] = a[1, 2] = b[0, 3] = b[2, 1] = distortion / half**3
        a[2, 0] = 0.5 * distortion / half**2
        wcs.sip = Sip(a, b, None, None, wcs.wcs.crpix)
    wcs.wcs.set()
    return wcs


def make_request(
    wcs: WCS,
    stars: ReferenceStars,
    *,
    seed: int = 2,
    shape: tuple[int, int] = SHAPE,
    complete: float = 0.9,
    fakes: float = 0.3,
    noise: float = 0.15,
    reach: float = 3.0,
    **known: Any,
) -> SolveRequest:
    """Return the detections of a frame: catalogue stars with centroid noise, some lost, some made up.

    Stars within ``reach`` degrees may be on it.
    """
    rng = np.random.default_rng(seed)
    x, y, inside = _projected(wcs, stars, shape, reach)
    x, y = x[inside], y[inside]
    kept = rng.uniform(size=len(x)) < complete
    real = np.column_stack([x[kept], y[kept]]) + rng.normal(0.0, noise, (int(kept.sum()), 2))
    magnitude = stars.mags["G"][inside][kept] + rng.normal(0.0, 0.1, int(kept.sum()))
    n_fake = int(fakes / (1.0 - fakes) * len(real))
    made_up = rng.uniform([0, 0], [shape[1] - 1, shape[0] - 1], (n_fake, 2))
    false_magnitude = rng.choice(magnitude, n_fake) if n_fake else np.empty(0)
    place = np.vstack([real, made_up])
    flux = 10 ** (-0.4 * (np.concatenate([magnitude, false_magnitude]) - 20.0))
    order = np.argsort(-flux)
    facts: dict[str, Any] = {
        "ra": float(wcs.wcs.crval[0]),
        "dec": float(wcs.wcs.crval[1]),
        "hint_error": 1.0,
        "scale": SCALE,
        "scale_tolerance": 0.06,
        "parity": 0,
        "epoch": 2016.0,
        "time_limit": 20.0,
    }
    return SolveRequest(
        x=place[order, 0], y=place[order, 1], flux=flux[order], shape=shape, **{**facts, **known}
    )


def random_request(seed: int, n: int = 60, *, shape: tuple[int, int] = SHAPE, **known: Any) -> SolveRequest:
    """Return a frame of ``n`` detections that are stars of no catalogue."""
    rng = np.random.default_rng(seed)
    flux = np.sort(10 ** rng.uniform(2.5, 5.0, n))[::-1]
    facts: dict[str, Any] = {
        "hint_error": 1.0,
        "scale": SCALE,
        "scale_tolerance": 0.06,
        "parity": 0,
        "epoch": 2016.0,
        "time_limit": 20.0,
    }
    return SolveRequest(
        x=rng.uniform(0, shape[1] - 1, n),
        y=rng.uniform(0, shape[0] - 1, n),
        flux=flux,
        shape=shape,
        **{**facts, **known},
    )


def hint_off(request: SolveRequest, degrees: float, towards: float) -> SolveRequest:
    """Return the request with its hint moved by ``degrees`` in position angle ``towards``."""
    moved = SkyCoord(request.ra, request.dec, unit="deg").directional_offset_by(
        towards * _DEG, degrees * _DEG
    )
    return replace(request, ra=float(moved.ra.deg), dec=float(moved.dec.deg))


def on_frame(
    wcs: WCS, stars: ReferenceStars, shape: tuple[int, int] = SHAPE
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y, inside = _projected(wcs, stars, shape)
    return x[inside], y[inside]


def seen_magnitudes(wcs: WCS, stars: ReferenceStars, shape: tuple[int, int] = SHAPE) -> NDArray[np.float64]:
    return stars.mags["G"][_projected(wcs, stars, shape)[2]]


def worst_error(found: WCS, true: WCS, shape: tuple[int, int] = SHAPE) -> float:
    """Return the largest distance in arcsec between two WCS over the frame."""
    y, x = np.meshgrid(np.linspace(0, shape[0] - 1, 9), np.linspace(0, shape[1] - 1, 9))
    ours = SkyCoord(*found.all_pix2world(x.ravel(), y.ravel(), 0), unit="deg")
    truth = SkyCoord(*true.all_pix2world(x.ravel(), y.ravel(), 0), unit="deg")
    return float(ours.separation(truth).arcsec.max())


def _projected(
    wcs: WCS, stars: ReferenceStars, shape: tuple[int, int], reach: float = 3.0
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    centre = SkyCoord(*wcs.wcs.crval, unit="deg")
    near = SkyCoord(stars.ra, stars.dec, unit="deg").separation(centre).deg < reach
    x, y = np.full(len(stars), np.nan), np.full(len(stars), np.nan)
    x[near], y[near] = wcs.all_world2pix(stars.ra[near], stars.dec[near], 0, quiet=True)
    with np.errstate(invalid="ignore"):
        inside = (x > -0.5) & (x < shape[1] - 0.5) & (y > -0.5) & (y < shape[0] - 0.5)
    return x, y, inside


_DEG = SkyCoord(0, 0, unit="deg").ra.unit
