import numpy as np
import pytest
import sep
from numpy.typing import NDArray

from nightflow.errors import FrameRejected
from nightflow.sources.background import measure_background
from nightflow.sources.boxes import filtered, without_gaps
from nightflow.sources.spline_plane import spline_plane

NOISE = 8.0


def starry_sky(shape: tuple[int, int], seed: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A sky that rises and bends, with stars, a bad column and a hole larger than a box."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    image = 200 + 0.02 * x + 30 * np.sin(y / 150) + rng.normal(0, NOISE, shape)
    for row, column, peak in zip(*rng.uniform(5, min(shape) - 5, (2, 150)), rng.pareto(1, 150), strict=True):
        image += 30 * peak * np.exp(-((x - column) ** 2 + (y - row) ** 2) / 4)
    mask = np.zeros(shape, bool)
    mask[:, 77] = mask[100:250, 60:210] = True
    image[mask] = np.nan
    return image.astype(np.float32), mask


@pytest.mark.parametrize(("shape", "box"), [((400, 512), 64), ((391, 333), 32)])
def test_sep_measures_the_same_background(shape: tuple[int, int], box: int) -> None:
    image, mask = starry_sky(shape, seed=box)
    found = measure_background(image, mask, box)
    theirs = sep.Background(image, mask=mask, bw=box, bh=box, fw=3, fh=3)
    # Ours is half a pixel further up, where its pixels are: at most a tenth of an electron here.
    assert np.abs(found.level - theirs.back()).max() < 0.05 * NOISE
    assert np.std(found.level - theirs.back()) < 0.015 * NOISE
    np.testing.assert_allclose(found.rms, theirs.rms(), rtol=0.01)
    assert found.median_level == pytest.approx(theirs.globalback, abs=0.01 * NOISE)
    assert found.median_rms == pytest.approx(theirs.globalrms, rel=0.002)


@pytest.mark.parametrize("sigma", [0.3, 0.38, 0.42, 0.6])
def test_a_sky_in_few_quanta_has_noise_all_the_same(sigma: float) -> None:
    """A camera whose gain is coarser than its sky: the clip leaves a single value of many a box."""
    image = np.rint(np.random.default_rng(4).normal(100.2, sigma, (640, 960))).astype(np.float32)
    found = measure_background(image, np.zeros(image.shape, bool), 64)
    theirs = sep.Background(image, bw=64, bh=64, fw=3, fh=3)
    np.testing.assert_allclose(found.rms, theirs.rms(), rtol=0.05)
    assert np.abs(found.level - theirs.back()).max() < 0.1


def test_pixels_that_are_infinite_do_not_count() -> None:
    image = np.random.default_rng(5).normal(100, NOISE, (320, 320)).astype(np.float32)
    clean = measure_background(image, np.zeros(image.shape, bool), 64)
    image[::40, ::40], image[7::40, ::40] = np.inf, -np.inf
    found = measure_background(image, np.zeros(image.shape, bool), 64)
    assert np.abs(found.level - clean.level).max() < 0.2 * NOISE


def test_where_no_box_has_enough_pixels_there_is_no_sky() -> None:
    image = np.random.default_rng(6).normal(100, NOISE, (320, 320)).astype(np.float32)
    mask = np.zeros(image.shape, bool)
    mask[:, ::5] = mask[:, 1::5] = mask[:, 2::5] = True
    with pytest.raises(FrameRejected, match="half of them usable"):
        measure_background(image, mask, 64)


def test_a_box_without_noise_gets_a_tenth_of_the_typical_one() -> None:
    image = np.random.default_rng(2).normal(100, NOISE, (320, 320)).astype(np.float32)
    image[:, :200] = 100
    found = measure_background(image, np.zeros(image.shape, bool), 64)
    assert found.rms.min() == pytest.approx(0.1 * found.median_rms)
    assert found.median_rms == pytest.approx(NOISE, rel=0.1)


def test_what_has_no_noise_at_all_is_no_exposure() -> None:
    with pytest.raises(FrameRejected, match="constant"):
        measure_background(np.full((128, 128), 7, np.float32), np.zeros((128, 128), bool), 32)


def test_gaps_take_the_mean_of_the_nearest_boxes() -> None:
    mesh = np.array([[1.0, np.nan, 3.0], [5.0, 6.0, np.nan]])
    assert without_gaps(mesh, 0.0).tolist() == [[1.0, (1.0 + 3.0 + 6.0) / 3, 3.0], [5.0, 6.0, 4.5]]
    assert without_gaps(np.full((2, 2), np.nan), 1.5).tolist() == [[1.5, 1.5], [1.5, 1.5]]


def test_the_filter_is_as_wide_on_either_side() -> None:
    mesh = np.array([[1.0, 9.0, 2.0], [3.0, 80.0, 4.0], [5.0, 6.0, 7.0]])
    assert filtered(mesh, 3).tolist() == [[1.0, 2.0, 2.0], [3.0, 5.0, 4.0], [5.0, 6.0, 7.0]]


def test_the_plane_through_a_straight_mesh_is_straight_everywhere() -> None:
    y, x = np.indices((4, 5)) * 16 + 7.5
    plane = spline_plane(2 * x - 3 * y, 16, (60, 78))
    rows, columns = np.indices(plane.shape)
    np.testing.assert_allclose(plane, 2 * columns - 3 * rows, atol=1e-4)
    assert np.all(spline_plane(np.array([[4.0]]), 16, (9, 11)) == 4)
