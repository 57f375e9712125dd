import numpy as np
import pytest

from nightflow.masters.areas import area_map, area_side, center_of


def test_an_area_is_its_median() -> None:
    plane = np.zeros((32, 48), np.float32)
    plane[16:, 32:] = 7.0
    plane[20, 40] = 9000.0
    assert area_map(plane, 16).tolist() == [[0.0, 0.0, 0.0], [0.0, 0.0, 7.0]]


def test_it_is_numpys_median_where_every_pixel_is_looked_at() -> None:
    plane = np.random.default_rng(2).normal(0, 1, (24, 16))
    plane[np.random.default_rng(3).random(plane.shape) < 0.2] = np.nan
    expected = np.nanmedian(plane.reshape(3, 8, 2, 8), axis=(1, 3))
    np.testing.assert_allclose(area_map(plane, 8), expected)


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
