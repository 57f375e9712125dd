import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import CCDData
from ccdproc import create_deviation

from nightflow.detector.variance import attach_variance, noise_variance
from tests.unit.detector.frames import make_frame, make_master


def test_equals_ccdproc() -> None:
    counts = np.random.default_rng(3).uniform(0, 30000, (30, 40)).astype(np.float32)
    theirs = create_deviation(
        CCDData(counts, unit=u.adu), gain=1.7 * u.electron / u.adu, readnoise=9.0 * u.electron
    ).uncertainty.array
    np.testing.assert_allclose(np.sqrt(noise_variance(counts, 1.7, 9.0)), theirs, rtol=1e-5)


def test_counts_below_zero_have_read_noise_only() -> None:
    np.testing.assert_allclose(noise_variance(np.float32([[-50.0]]), 2.0, 8.0), 16.0)


def test_master_and_extra_variance_are_added() -> None:
    frame = make_frame(np.zeros((4, 4)), bias_included=False)
    frame = attach_variance(frame, master_bias=make_master("bias", np.ones((4, 4)), 3.0), extra=0.5)
    np.testing.assert_allclose(frame.variance, 16 + 9 + 0.5)
    assert frame.warnings == ()


def test_a_zero_level_carries_no_photon_noise() -> None:
    frame = attach_variance(make_frame(np.full((4, 4), 1300.0)), zero_level=np.full((4, 4), 1000, np.float32))
    np.testing.assert_allclose(frame.variance, 300 / 2 + 16)


def test_an_unknown_gain_and_a_bias_left_in_are_warnings() -> None:
    frame = attach_variance(make_frame(np.ones((4, 4)), gain=1.0, gain_known=False))
    assert [w.split(":")[1].split(",")[0].strip() for w in frame.warnings] == [
        "gain unknown",
        "the bias level was not removed and counts as light",
    ]


def test_a_senseless_gain_is_an_error() -> None:
    with pytest.raises(ValueError, match="gain must be positive, got 0"):
        noise_variance(np.ones((2, 2), np.float32), 0, 5)
