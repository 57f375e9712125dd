from __future__ import annotations

import numpy as np
import pytest

from nightflow.instruments.profile import DetectionSettings, PhotometrySettings
from nightflow.sources.empty_apertures import empty_places
from nightflow.sources.measure import measure_frame
from tests.unit.sources.painted import READ_NOISE, SKY, painted

NOTHING = np.empty(0)


def measured(seed: int, correlated: float = 0.0):
    frame = painted(NOTHING, NOTHING, NOTHING, seed=seed, correlated=correlated)
    return measure_frame(frame, DetectionSettings(), PhotometrySettings())


def test_of_white_noise_it_is_what_the_photons_say():
    frames = [measured(seed) for seed in range(4)]
    noise = np.array([one.aperture_noise for one in frames])
    radius, (inner, outer) = frames[0].pixels.radius, frames[0].pixels.annulus
    area, ring = np.pi * radius**2, np.pi * (outer**2 - inner**2)
    # A pixel on the rim counts in part, from none to all: the mean of w^2 is 1/6 below that of w.
    weights2 = area - 2 * np.pi * radius / 6
    true = np.sqrt((SKY + READ_NOISE**2) * (weights2 + area**2 / ring))
    assert np.mean(noise) == pytest.approx(true, rel=0.04)
    assert np.mean([one.empty_apertures.expected for one in frames]) == pytest.approx(true, rel=0.06)


def test_what_neighbouring_pixels_share_is_in_it():
    one = measured(1, correlated=4.0)
    single_pixels = np.sqrt(np.pi) * one.aperture_radius * one.sky_rms
    assert one.aperture_noise > 1.3 * single_pixels
    assert one.empty_apertures.factor > 1.3


def test_places_are_empty_spread_and_the_same_every_time():
    mask = np.zeros((300, 400), bool)
    mask[:, 200:] = np.random.default_rng(1).uniform(size=(300, 200)) < 0.01
    mask[100:140] = True
    x, y = empty_places(mask, 5.0)
    assert len(x) > 200
    yy, xx = np.mgrid[:300, :400]
    for one, other in zip(x, y, strict=True):
        assert not mask[np.hypot(xx - one, yy - other) <= 5.0].any()
        assert min(one, other, 399 - one, 299 - other) >= 4.4
    assert (x < 200).sum() > (x > 200).sum() > 5
    assert (y < 100).any()
    assert (y > 140).any()
    again = empty_places(mask, 5.0)
    assert np.array_equal(again[0], x)


def test_a_frame_without_empty_sky_falls_back_on_its_pixels_and_says_so():
    rng = np.random.default_rng(3)
    x, y = rng.uniform(0, 430, (2, 3000))
    frame = painted(x, y, np.full(3000, 3e3), seed=3)
    one = measure_frame(frame, DetectionSettings(), PhotometrySettings())
    assert one.empty_apertures.n < 30
    assert np.isnan(one.empty_apertures.noise)
    assert one.empty_apertures.factor == 1
    assert one.aperture_noise == pytest.approx(np.sqrt(np.pi) * one.aperture_radius * one.sky_rms)
    assert any("the depth rests on the noise of single pixels" in warning for warning in one.warnings)


def test_a_mask_without_room():
    assert len(empty_places(np.zeros((6, 6), bool), 5.0)[0]) == 0
    assert len(empty_places(np.ones((100, 100), bool), 5.0)[0]) == 0
