"""Lists of detections with known truth: pairs, dropouts, blends, false ones, bodies that move."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from nightflow.lightcurves.associate import reach
from nightflow.lightcurves.field_night import FieldNight

CENTER = (132.8, 41.8)


@dataclass(frozen=True, kw_only=True)
class Body:
    """Motion of a body: place in arcsec from the field's centre at hour 0, arcsec an hour."""

    x: float
    y: float
    rate_x: float
    rate_y: float
    flux: float = 3000.0


@dataclass(frozen=True, kw_only=True)
class Sky:
    """What is seen, and how.

    ``side`` is the field's, ``fwhm`` the seeing's, in arcsec; ``scale`` in arcsec a pixel; ``dropout`` is the
    chance of a star to be missed, ``blends`` that of a pair to be seen as one; ``false_a_frame`` detections
    are of nothing; ``wcs_error`` is that of each frame, in arcsec, ``cadence`` in hours.
    """

    n_stars: int = 300
    n_pairs: int = 0
    n_frames: int = 40
    side: float = 1800.0
    fwhm: float = 3.0
    scale: float = 1.0
    dropout: float = 0.1
    blends: float = 0.0
    false_a_frame: int = 20
    wcs_error: float = 0.1
    cadence: float = 0.05
    bodies: tuple[Body, ...] = ()
    flip_at: int | None = None
    seed: int = 1
    center: tuple[float, float] = field(default=CENTER)


@dataclass(frozen=True, kw_only=True)
class Observed:
    """Detections and what each is: a star's number, -1 for nothing, -2 - k for body k."""

    night: FieldNight
    truth: NDArray[np.intp]
    position_err: NDArray[np.float64]


def observe(sky: Sky) -> Observed:
    rng = np.random.default_rng(sky.seed)
    x, y, flux = _stars(sky, rng)
    parts = [_frame(sky, rng, frame, x, y, flux) for frame in range(sky.n_frames)]
    table = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    ra, dec = _on_the_sky(sky, table["sky_x"], table["sky_y"])
    far = reach(sky.scale, sky.fwhm / sky.scale, 1.2 * sky.wcs_error, table["position_err"])
    night = FieldNight(
        frame=table["frame"],
        hours=table["frame"] * sky.cadence,
        ra=ra,
        dec=dec,
        x=table["x"],
        y=table["y"],
        reach=far,
        position_err=table["position_err"],
        pull=np.zeros(len(ra)),
        sharpness=np.ones(len(ra)),
        exposure=np.full(len(ra), 0.01 / sky.fwhm),
        mag=-2.5 * np.log10(table["flux"]),
        flags=np.zeros(len(ra), np.int64),
        n_frames=sky.n_frames,
        area=sky.side**2,
        scale=sky.scale,
    )
    return Observed(night=night, truth=table["truth"], position_err=table["position_err"])


def _stars(sky: Sky, rng: np.random.Generator) -> tuple[NDArray[np.float64], ...]:
    """Return places and fluxes; the last ``n_pairs`` are companions of the first, 1.5 to 3 FWHM away."""
    n_single = sky.n_stars - sky.n_pairs
    places = np.empty((0, 2))
    while len(places) < n_single:
        more = rng.uniform(-sky.side / 2, sky.side / 2, (2 * n_single, 2))
        for one in more:
            if len(places) == n_single:
                break
            if not len(places) or np.hypot(*(places - one).T).min() > 6.0 * sky.fwhm:
                places = np.vstack([places, one])
    angle = rng.uniform(0, 2 * np.pi, sky.n_pairs)
    apart = rng.uniform(1.5, 3.0, sky.n_pairs) * sky.fwhm
    shift = np.column_stack([apart * np.cos(angle), apart * np.sin(angle)])
    places = np.vstack([places, places[: sky.n_pairs] + shift])
    flux = 10 ** rng.uniform(2.3, 5.0, len(places))
    flux[n_single:] = flux[: sky.n_pairs] * 10 ** rng.uniform(-0.5, 0.5, sky.n_pairs)
    return places[:, 0], places[:, 1], flux


def _frame(
    sky: Sky,
    rng: np.random.Generator,
    number: int,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    flux: NDArray[np.float64],
) -> dict[str, NDArray]:
    seen = rng.random(len(x)) > sky.dropout
    blend_x, blend_y, blend_flux = _blends(sky, rng, x, y, flux, seen)
    hour = number * sky.cadence
    bodies = [(b.x + b.rate_x * hour, b.y + b.rate_y * hour, b.flux) for b in sky.bodies]
    moving = np.array(bodies).reshape(-1, 3)
    kept = (np.abs(moving[:, :2]) < sky.side / 2).all(axis=1) & (rng.random(len(moving)) > sky.dropout)
    false = rng.uniform(-sky.side / 2, sky.side / 2, (sky.false_a_frame, 2))
    true_x = np.concatenate([x[seen], moving[kept, 0], false[:, 0], blend_x])
    true_y = np.concatenate([y[seen], moving[kept, 1], false[:, 1], blend_y])
    light = np.concatenate([flux[seen], moving[kept, 2], 10 ** rng.uniform(1.7, 2.3, len(false)), blend_flux])
    truth = np.concatenate(
        [np.flatnonzero(seen), -2 - np.flatnonzero(kept), np.full(len(false) + len(blend_x), -1)]
    )
    # Photon noise of a centroid (King 1983, PASP 95, 163), and what the frame's WCS is off.
    error = sky.fwhm / 2.355 / np.sqrt(light / 4.0)
    sky_x = true_x + rng.normal(0, error) + rng.normal(0, sky.wcs_error / np.sqrt(2))
    sky_y = true_y + rng.normal(0, error) + rng.normal(0, sky.wcs_error / np.sqrt(2))
    sign = -1.0 if sky.flip_at is not None and number >= sky.flip_at else 1.0
    order = rng.permutation(len(true_x)) if sign < 0 else np.argsort(true_y, kind="stable")
    columns = {
        "frame": np.full(len(true_x), number),
        "sky_x": sky_x,
        "sky_y": sky_y,
        "x": sign * true_x / sky.scale,
        "y": sign * true_y / sky.scale,
        "flux": light,
        "truth": truth,
        "position_err": error,
    }
    return {name: values[order] for name, values in columns.items()}


def _blends(
    sky: Sky,
    rng: np.random.Generator,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    flux: NDArray[np.float64],
    seen: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return what some pairs look like as one, at their centre of light; takes both out of ``seen``."""
    first = np.flatnonzero(rng.random(sky.n_pairs) < sky.blends)
    second = first + len(x) - sky.n_pairs
    seen[first], seen[second] = False, False
    light = flux[first] + flux[second]
    share = flux[first] / light
    return share * x[first] + (1 - share) * x[second], share * y[first] + (1 - share) * y[second], light


def _on_the_sky(
    sky: Sky, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return ICRS degrees of places on the tangent plane (x to the east), by way of astropy."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = sky.center
    wcs.wcs.cd = np.diag([1.0, 1.0]) / 3600.0
    ra, dec = wcs.wcs_pix2world(x, y, 1)
    return ra, dec
