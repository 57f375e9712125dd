import numpy as np
import pytest

from nightflow.detector.sky_pixels import sky_pixels, usable_pixels
from nightflow.detector.surroundings import measure_surroundings
from nightflow.flags import Flag
from tests.unit.detector.frames import make_frame
from tests.unit.detector.skies import exposed, stars

SHAPE = (200, 300)


def test_level_and_scatter_are_followed_and_outliers_ignored() -> None:
    y, x = np.indices(SHAPE)
    truth, sigma = 100 + 0.5 * x - 0.2 * y, 2 + 0.02 * x
    data = np.random.default_rng(1).normal(truth, sigma)
    data[::7, ::5] += 1000
    around = measure_surroundings(data.astype(np.float32), np.ones(SHAPE, bool))
    assert np.abs((around.level - truth) / sigma).max() < 0.5
    assert np.median(around.scatter / sigma) == pytest.approx(1.05, abs=0.1)


def test_unusable_pixels_do_not_count() -> None:
    data = np.full(SHAPE, 5, np.float32)
    usable = np.ones(SHAPE, bool)
    data[:, :150] = np.nan
    usable[:, :150] = False
    around = measure_surroundings(data, usable)
    np.testing.assert_allclose(around.level, 5, rtol=1e-6)
    nothing = measure_surroundings(data, np.zeros(SHAPE, bool))
    assert not nothing.level.any()
    assert not nothing.scatter.any()


@pytest.mark.parametrize("shape", [(1, 1), (5, 400), (33, 7), (64, 64)])
def test_any_shape_will_do(shape: tuple[int, int]) -> None:
    around = measure_surroundings(np.full(shape, 3, np.float32), np.ones(shape, bool))
    np.testing.assert_allclose(around.level, 3)


def test_sky_is_what_is_left_between_the_stars() -> None:
    rng = np.random.default_rng(2)
    light = stars(rng, SHAPE, 40)
    sky = sky_pixels(exposed(rng, light), 64)
    assert not sky[light > 60].any()
    assert sky[light < 1].mean() > 0.8


def test_fringes_are_sky() -> None:
    x = np.indices(SHAPE)[1]
    sky = sky_pixels(exposed(np.random.default_rng(3), 60 * (1 + np.sin(x / 5))), 100)
    assert sky.mean() > 0.95


def test_flagged_pixels_are_neither() -> None:
    flags = np.zeros((20, 20), np.uint16)
    flags[2, 3], flags[4, 5] = Flag.SATURATED, Flag.WARM
    frame = make_frame(np.ones((20, 20)))
    assert usable_pixels(frame).all()
    assert np.argwhere(~usable_pixels(frame.after("flags", flags=flags))).tolist() == [[2, 3]]
    assert not sky_pixels(frame.after("flags", flags=flags), 32)[2, 3]
