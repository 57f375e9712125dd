"""Star lists of a simulated night, with their truth; the sky's own physics, none of the reducer's."""

from dataclasses import dataclass

import numpy as np

from nightflow.photcal.bands import Reference
from nightflow.photcal.night import NightFrames
from nightflow.photcal.night_model import NightStars

TERM, SECOND, EXTINCTION, ABOVE = -0.076, -0.010, 0.12, 20.1


@dataclass
class SimulatedNight:
    frames: NightFrames
    stars: NightStars
    reference: Reference
    zero_point: np.ndarray
    cloud: np.ndarray


def simulate(seed, *, n_stars=120, n_frames=40, noise=0.010, cloud=0.0, hours=4.0, center=1.7):
    """Return a field that crosses the meridian, measured to a few mmag against a catalogue of that noise."""
    rng = np.random.default_rng(seed)
    time = np.linspace(0, hours, n_frames)
    airmass = 1 / np.cos(np.radians(20 * np.abs(time - center)))
    v = rng.uniform(10, 14.5, n_stars)
    color = np.where(
        rng.random(n_stars) < 0.2, rng.normal(0.62, 0.12, n_stars), rng.normal(0.45, 0.09, n_stars)
    )
    red = v - color
    lost = cloud / 2 * np.clip(_wander(rng, time) - 0.3, 0, 2.5)
    zero_point = ABOVE - EXTINCTION * airmass - lost
    mag = red - zero_point[:, None] - np.outer(TERM + SECOND * airmass, color)
    error = np.broadcast_to(0.004 * 10 ** (0.2 * (red - 12)), mag.shape)
    frame, star = np.mgrid[0:n_frames, 0:n_stars]
    listed_v, listed_red = v + rng.normal(0, noise, n_stars), red + rng.normal(0, noise, n_stars)
    reference = Reference(
        mag=listed_red,
        error=np.full(n_stars, noise),
        color=listed_v - listed_red,
        color_variance=np.full(n_stars, 2 * noise**2),
        covariance=np.full(n_stars, -(noise**2)),
    )
    stars = NightStars(
        frame=frame.ravel(),
        star=star.ravel(),
        mag=(mag + rng.normal(0, 1, mag.shape) * error).ravel(),
        error=error.ravel().copy(),
    )
    return SimulatedNight(NightFrames(airmass=airmass, hours=time), stars, reference, zero_point, lost)


def _wander(rng, time):
    """Return an Ornstein-Uhlenbeck process with a memory of 0.6 hours."""
    walk = np.zeros(len(time))
    kept = np.exp(-(time[1] - time[0]) / 0.6)
    for row in range(1, len(time)):
        walk[row] = kept * walk[row - 1] + np.sqrt(1 - kept**2) * rng.normal()
    return walk
