import numpy as np
import pytest
from scipy.stats import trim_mean

from nightflow.masters.areas import area_map, area_side, center_of


def test_a_hot_pixel_does_not_move_its_area() -> None:
    plane = np.zeros((32, 48), np.float32)
    plane[16:, 32:] = 7.0
    plane[20, 40] = 9000.0
    assert area_map(plane, 16).tolist() == [[0.0, 0.0, 0.0], [0.0, 0.0, 7.0]]


def test_it_is_scipys_trimmed_mean_where_every_pixel_is_looked_at() -> None:
    plane = np.random.default_rng(2).normal(0, 1, (24, 16))
    blocks = np.moveaxis(plane.reshape(3, 8, 2, 8), 2, 1).reshape(3, 2, 64)
    np.testing.assert_allclose(area_map(plane, 8), trim_mean(blocks, 0.25, axis=-1))


def test_whole_counts_are_not_rounded_to() -> None:
    counts = np.rint(np.random.default_rng(5).normal(100.3, 1.5, (64, 64)))
    areas = area_map(counts, 8)
    assert np.mean(areas) == pytest.approx(100.3, abs=0.1)
    assert np.std(areas) == pytest.approx(1.5 * 0.15, rel=0.25)


def test_unknown_pixels_do_not_count() -> None:
    plane = np.full((8, 8), 3.0)
    plane[:2] = np.nan
    assert area_map(plane, 8).tolist() == [[3.0]]


def test_areas_without_half_of_their_pixels_are_unknown() -> None:
    plane = np.ones((8, 16))
    plane[:5, :8] = np.nan
    assert np.isnan(area_map(plane, 8)[0, 0])
    assert area_map(plane, 8)[0, 1] == 1.0


@pytest.mark.parametrize(
    ("shape", "side"), [((4096, 4096), 32), ((1024, 1056), 32), ((256, 300), 8), ((6, 9), 6)]
)
def test_sides_are_bounded(shape: tuple[int, int], side: int) -> None:
    assert area_side(shape, 32, 32) == side


def test_a_place_is_x_then_y() -> None:
    assert center_of((2, 5), 16) == (88, 40)
