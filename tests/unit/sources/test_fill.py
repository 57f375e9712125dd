import numpy as np
import pytest

from nightflow.sources.fill import fill_flagged


@pytest.fixture
def plane():
    """A tilted plane: any honest filling of a small hole gives the plane back."""
    yy, xx = np.mgrid[:40, :50]
    return (2.0 * xx + 3.0 * yy).astype(np.float32)


def test_single_pixels_and_columns_take_their_neighbours_value(plane):
    mask = np.zeros(plane.shape, bool)
    mask[10, 10] = True
    mask[:, 30] = True
    broken = np.where(mask, np.float32(1e6), plane)
    filled, empty = fill_flagged(broken, mask)
    assert not empty.any()
    np.testing.assert_allclose(filled[2:-2, 2:-2], plane[2:-2, 2:-2], atol=2.1)


def test_what_is_not_masked_is_not_touched(plane):
    mask = np.random.default_rng(1).random(plane.shape) < 0.05
    filled, _ = fill_flagged(plane, mask)
    np.testing.assert_array_equal(filled[~mask], plane[~mask])


def test_a_hole_without_neighbours_stays_empty(plane):
    mask = np.zeros(plane.shape, bool)
    mask[5:25, 5:25] = True
    filled, empty = fill_flagged(plane, mask)
    assert empty[15, 15]
    assert filled[15, 15] == 0
    assert not empty[5, 5]


def test_masked_nan_is_filled(plane):
    mask = np.zeros(plane.shape, bool)
    mask[20, 20] = True
    broken = plane.copy()
    broken[20, 20] = np.nan
    filled, _ = fill_flagged(broken, mask)
    assert np.isfinite(filled).all()
