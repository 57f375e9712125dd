import numpy as np
import pytest
from photutils.aperture import CircularAperture, aperture_photometry

from nightflow.sources.aperture import measure_apertures


def test_sums_are_those_of_photutils():
    rng = np.random.default_rng(2)
    data = rng.normal(0, 3, (120, 140)).astype(np.float32)
    x, y = rng.uniform(20, 100, 25), rng.uniform(20, 100, 25)
    variance = np.full(data.shape, 9.0, np.float32)
    everything = np.ones(data.shape, bool)  # no pixel is sky, so no local background is taken off
    ours = measure_apertures(data, variance, everything, x, y, 4.3, (8, 12))
    table = aperture_photometry(
        data, CircularAperture(np.column_stack([x, y]), 4.3), error=np.full(data.shape, 3.0)
    )
    np.testing.assert_allclose(ours.flux, table["aperture_sum"], rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(ours.flux_err, table["aperture_sum_err"], rtol=1e-4)


def test_local_background_is_taken_off_with_its_error():
    data = np.random.default_rng(4).normal(50, 3, (100, 100)).astype(np.float32)
    variance = np.full(data.shape, 9.0, np.float32)
    sky = np.zeros(data.shape, bool)
    position = np.array([50.0])
    result = measure_apertures(data, variance, sky, position, position, 5.0, (9, 14))
    area = np.pi * 25
    assert result.background[0] == pytest.approx(50, abs=1)
    assert abs(result.flux[0]) < 4 * result.flux_err[0]
    assert result.flux_err[0] > 3 * np.sqrt(area)


def test_no_source_is_no_error():
    result = measure_apertures(
        np.zeros((9, 9), np.float32), np.ones((9, 9), np.float32), np.zeros((9, 9), bool),
        np.empty(0), np.empty(0), 2.0, (3, 4),
    )  # fmt: skip
    assert len(result.flux) == 0
