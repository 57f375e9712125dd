"""Skies of known content, in electrons: stars, trails, galaxies, spikes. A physics of the tests' own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from nightflow.frame import Frame
from tests.unit.detector.frames import make_frame

SKY, READ_NOISE, FWHM = 400.0, 8.0, 2.5
NOISE = float(np.sqrt(SKY + READ_NOISE**2))


def stars(rng: np.random.Generator, shape: tuple[int, int], number: int) -> NDArray[np.float64]:
    """Moffat stars of 100 to 300,000 electrons, most of them faint."""
    image = np.zeros(shape)
    alpha = FWHM / 2 / np.sqrt(2 ** (1 / 3) - 1)
    for flux in 10 ** (2 + 3.5 * rng.random(number) ** 2):
        x, y = rng.uniform(0, shape[1]), rng.uniform(0, shape[0])
        reach = int(10 * alpha)
        rows = slice(max(0, int(y) - reach), int(y) + reach)
        columns = slice(max(0, int(x) - reach), int(x) + reach)
        yy, xx = np.mgrid[rows.start : min(rows.stop, shape[0]), columns.start : min(columns.stop, shape[1])]
        radius = ((yy - y) ** 2 + (xx - x) ** 2) / alpha**2
        image[rows, columns] += flux * 2 / np.pi / alpha**2 * (1 + radius) ** -3
    return image


def distance_from_line(shape: tuple[int, int], angle: float, offset: float) -> NDArray[np.float64]:
    """Pixels from a line whose normal points along ``angle``, ``offset`` from the middle of the frame."""
    y, x = np.indices(shape)
    return (x - shape[1] / 2) * np.cos(angle) + (y - shape[0] / 2) * np.sin(angle) - offset


def trail_profile(distance: NDArray[np.float64], width: float = 3.0) -> NDArray[np.float64]:
    """A band of light blurred by the seeing, 1 at its brightest."""
    sigma = FWHM / 2.3548 * np.sqrt(2)
    profile = erf((distance + width / 2) / sigma) - erf((distance - width / 2) / sigma)
    return np.asarray(profile / profile.max())


def exposed(rng: np.random.Generator, light: NDArray[np.float64]) -> Frame:
    """A calibrated frame of ``light`` on the sky, with its noise, variance and empty flags."""
    expected = SKY + light
    data = rng.poisson(expected) + rng.normal(0, READ_NOISE, light.shape)
    return make_frame(data, unit="electron").after(
        "exposed",
        variance=(expected + READ_NOISE**2).astype(np.float32),
        flags=np.zeros(light.shape, np.uint16),
    )
