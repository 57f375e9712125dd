import numpy as np
import pytest

from nightflow.detector.chain import MasterSet, calibrate
from nightflow.detector.fringe import block_means, fit_amplitude, subtract_fringe
from nightflow.flags import Flag
from tests.unit.detector.frames import make_frame, make_master, make_profile

SHAPE = (240, 320)
X = np.indices(SHAPE)[1]
PATTERN = np.sqrt(2) * np.sin(2 * np.pi * X / 40)
"""Mean zero, rms 1."""
EVERYWHERE = np.ones(SHAPE, bool)


def noise(seed: int, sigma: float) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, sigma, SHAPE)


def test_the_noise_of_the_pattern_does_not_make_the_amplitude_too_small() -> None:
    error = np.full(SHAPE, 2, np.float32)
    residual = (7 * PATTERN + noise(5, 5)).astype(np.float32)
    fit = fit_amplitude(residual, (PATTERN + noise(6, 2)).astype(np.float32), error, EVERYWHERE)
    assert fit.value == pytest.approx(7, rel=0.02)
    assert fit.significant
    assert not fit_amplitude(residual, noise(7, 2).astype(np.float32), error, EVERYWHERE).significant


def test_the_error_of_the_amplitude_is_true() -> None:
    zero = np.zeros(SHAPE, np.float32)
    fits = [
        fit_amplitude(
            (PATTERN + noise(seed, 30)).astype(np.float32), PATTERN.astype(np.float32), zero, EVERYWHERE
        )
        for seed in range(60)
    ]
    pulls = [(fit.value - 1) / fit.error for fit in fits]
    assert np.std(pulls) == pytest.approx(1, abs=0.25)
    assert np.mean(pulls) == pytest.approx(0, abs=0.4)


def test_light_that_was_not_masked_does_not_move_it() -> None:
    residual = 7 * PATTERN + noise(8, 5)
    residual[50:80, 100:130] += 3000
    zero = np.zeros(SHAPE, np.float32)
    fit = fit_amplitude(residual.astype(np.float32), PATTERN.astype(np.float32), zero, EVERYWHERE)
    assert fit.value == pytest.approx(7, rel=0.02)


def test_a_frame_that_shows_too_little_sky_has_no_amplitude() -> None:
    sky = np.zeros(SHAPE, bool)
    sky[:20, :20] = True
    zero = np.zeros(SHAPE, np.float32)
    fit = fit_amplitude(PATTERN.astype(np.float32), PATTERN.astype(np.float32), zero, sky)
    assert (fit.value, fit.error, fit.significant) == (0, float("inf"), False)


def test_means_of_blocks_leave_out_what_does_not_count() -> None:
    plane = np.arange(80, dtype=np.float32).reshape(8, 10)
    counted = np.ones(plane.shape, bool)
    counted[0, :4] = False
    counted[4:, 4:7] = False
    means = block_means(plane, counted)
    assert means.shape == (2, 2)
    assert means[0, 0] == pytest.approx(plane[1:4, :4].mean())
    assert means[0, 1] == pytest.approx(plane[:4, 4:8].mean())
    assert np.isnan(means[1, 1])


def test_the_pattern_is_subtracted_with_its_variance_and_its_flags() -> None:
    flags = np.zeros(SHAPE, np.uint16)
    flags[3, 4] = Flag.BAD
    master = make_master("fringe", PATTERN, 0.1, flags=flags)
    frame = make_frame(500 + 40 * PATTERN + noise(9, 4), unit="electron").after(
        "v", variance=np.full(SHAPE, 16, np.float32)
    )
    done = subtract_fringe(frame, master)
    assert np.std(done.data) == pytest.approx(4, rel=0.05)
    np.testing.assert_allclose(done.variance, 16 + 4**2, rtol=0.05)
    assert np.argwhere(done.flags).tolist() == [[3, 4]]


def test_it_needs_electrons_and_a_fringe() -> None:
    with pytest.raises(ValueError, match="needs counts in electron"):
        subtract_fringe(make_frame(np.ones(SHAPE)), make_master("fringe", PATTERN))
    with pytest.raises(ValueError, match="needs a master fringe, got a master flat"):
        subtract_fringe(make_frame(np.ones(SHAPE), unit="electron"), make_master("flat", PATTERN))


def test_the_chain_subtracts_it_from_electrons() -> None:
    profile = make_profile(calibration={"bias": "off", "dark": "off", "flat": "off", "fringe": "required"})
    frame = make_frame(500 + 20 * PATTERN + noise(10, 2))
    result = calibrate(frame, profile, MasterSet(fringe=make_master("fringe", PATTERN)))
    assert np.std(result.data) == pytest.approx(4, rel=0.05)
    assert np.mean(result.data) == pytest.approx(1000, rel=0.01)
