import numpy as np
import pytest

from nightflow.detector.bad_columns import BadColumn, find_bad_columns

SHAPE = (256, 200)


def residual(seed: int = 1) -> np.ndarray:
    """Noise, and columns that all differ a little, as those of real chips do."""
    rng = np.random.default_rng(seed)
    return (rng.normal(0, 1, SHAPE) + rng.normal(0, 0.3, SHAPE[1])).astype(np.float32)


def find(data: np.ndarray, usable: np.ndarray | None = None, least: float = 0.5) -> list[BadColumn]:
    good = np.ones(data.shape, bool) if usable is None else usable
    return find_bad_columns(data.astype(np.float32), good, sigma=5.0, window=11, least=least)


@pytest.mark.parametrize("seed", range(5))
def test_columns_that_differ_like_all_others_are_good(seed: int) -> None:
    assert find(residual(seed), least=0.0) == []


@pytest.mark.parametrize("column", [0, 1, 100, 198, 199])
@pytest.mark.parametrize("offset", [-4.0, 4.0])
def test_a_whole_column_is_found_on_either_side(column: int, offset: float) -> None:
    data = residual()
    data[:, column] += offset
    assert find(data) == [BadColumn(column, slice(0, 256))]


def test_neighbouring_bad_columns_do_not_hide_each_other() -> None:
    data = residual()
    data[:, 50:53] += 20
    assert [one.column for one in find(data)] == [50, 51, 52]


@pytest.mark.parametrize(("start", "stop"), [(0, 100), (90, 256), (64, 160), (101, 187)])
def test_part_of_a_column_is_found_to_within_a_piece(start: int, stop: int) -> None:
    data = residual()
    data[start:stop, 77] += 12
    (found,) = find(data)
    assert found.column == 77
    assert abs(found.rows.start - start) <= 8
    assert abs(found.rows.stop - stop) <= 8


def test_what_does_no_harm_is_left() -> None:
    data = residual()
    data[:, 40] += 4
    assert find(data, least=10.0) == []


def test_hot_pixels_and_masked_pixels_make_no_column() -> None:
    data = residual()
    data[::3, 20] += 500
    usable = np.ones(SHAPE, bool)
    data[:, 30] += 100
    usable[:, 30] = False
    data[10:250, 40] = np.nan
    usable[10:250, 40] = False
    assert find(data, usable) == []


def test_a_sliver_of_a_chip_has_no_columns_to_compare() -> None:
    assert find(np.zeros((256, 2))) == []
    assert find(np.zeros((4, 200))) == []
