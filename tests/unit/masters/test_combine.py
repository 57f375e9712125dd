import warnings

import ccdproc
import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import CCDData
from astropy.stats import mad_std
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nightflow.masters.combine import combine, typical_noise


def noise(n: int, shape: tuple[int, int] = (50, 60), seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(1000, 10, (n, *shape)).astype(np.float32)


def clipped_by_numpy(
    stack: np.ndarray, sigma: float, floor: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    values = stack.astype(float)
    center = np.nanmedian(values, axis=0)
    spread = np.maximum(1.482602218505602 * np.nanmedian(np.abs(values - center), axis=0), floor)
    values[np.abs(values - center) > sigma * spread] = np.nan
    return np.nanmean(values, axis=0), np.nanstd(values, axis=0, ddof=1), np.isfinite(values).sum(axis=0)


@pytest.mark.parametrize("n", [3, 4, 5, 10, 21])
def test_a_cosmic_ray_is_rejected_however_few_the_frames(n: int) -> None:
    """Every fifth column is hit, in a frame of chance, by a hit of ten standard deviations and more."""
    random = np.random.default_rng(6)
    stack = noise(n)
    hit = random.integers(0, n, (1, 50, 12))
    energy = 10 ** random.uniform(2.2, 4.5, (1, 50, 12))
    columns = stack[:, :, ::5].copy()
    np.put_along_axis(columns, hit, 1000 + energy, axis=0)
    stack[:, :, ::5] = columns
    result = combine(stack)
    assert np.mean(result.n_used[:, ::5] < n) > 0.98
    assert np.std(result.data[:, ::5]) == pytest.approx(10 / np.sqrt(n - 1), rel=0.15)
    assert np.mean(result.data[:, ::5]) == pytest.approx(1000, abs=1)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_good_values_are_kept(n: int) -> None:
    """The MAD of three values alone would reject one in seven."""
    result = combine(noise(n, (200, 200)))
    assert result.n_used.mean() > 0.998 * n
    assert np.std(result.data - 1000) == pytest.approx(10 / np.sqrt(n), rel=0.03)
    assert np.sqrt(np.mean(result.scatter**2)) == pytest.approx(10, rel=0.03)


@pytest.mark.parametrize("sigma", [2.0, 3.0, 5.0])
def test_equals_numpy(sigma: float) -> None:
    stack = noise(9)
    stack[2, 5:10, 7] = np.nan
    result = combine(stack, sigma=sigma, noise_floor=4.0)
    mean, scatter, used = clipped_by_numpy(stack, sigma, 4.0)
    np.testing.assert_array_equal(result.n_used, used)
    np.testing.assert_allclose(result.data, mean, rtol=1e-6)
    np.testing.assert_allclose(result.scatter, scatter, rtol=1e-4, atol=1e-4)


def test_equals_ccdproc() -> None:
    stack = noise(11)
    stack[4, ::3] += 500
    combiner = ccdproc.Combiner([CCDData(plane.astype(float), unit=u.adu) for plane in stack])
    combiner.sigma_clipping(low_thresh=4, high_thresh=4, func=np.ma.median, dev_func=mad_std)
    result = combine(stack, sigma=4.0, noise_floor=0.0)
    np.testing.assert_allclose(result.data, combiner.average_combine().data, rtol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_the_median_equals_numpy(n: int) -> None:
    stack = noise(n)
    result = combine(stack, "median")
    np.testing.assert_allclose(result.data, np.median(stack, axis=0), rtol=1e-6)
    np.testing.assert_allclose(result.scatter, mad_std(stack, axis=0), rtol=1e-4, atol=1e-3)


def test_tiles_and_threads_change_nothing() -> None:
    stack = noise(6, (97, 40))
    whole, tiled = combine(stack), combine(stack, tile_bytes=6 * 40 * 4 * 7 * 3, threads=3)
    for name in ("data", "scatter", "n_used"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(tiled, name))


def test_any_number_type_and_byte_order() -> None:
    stack = noise(5).round()
    for dtype in (np.uint16, ">i2", ">f4", np.float64):
        np.testing.assert_array_equal(combine(list(stack.astype(dtype))).data, combine(stack).data)


def test_an_iterator_will_do() -> None:
    stack = noise(4)
    np.testing.assert_array_equal(combine(plane for plane in stack).data, combine(stack).data)


def test_a_pixel_without_any_value_is_not_a_number() -> None:
    stack = noise(4)
    stack[:, 3, 3] = np.nan
    result = combine(stack)
    assert np.isnan(result.data[3, 3])
    assert result.n_used[3, 3] == 0
    assert np.isfinite(np.delete(result.data.ravel(), 3 * 60 + 3)).all()


@pytest.mark.parametrize("n", [1, 2, 7])
def test_typical_noise(n: int) -> None:
    stack = noise(n, (400, 300))
    stack[0, ::2, 5] = 30000
    assert typical_noise(list(stack)) == pytest.approx(10, rel=0.03)


@pytest.mark.parametrize("sigma", [0.2, 0.3, 0.46, 0.6, 1.0, 1.55, 3.0])
def test_typical_noise_of_whole_counts(sigma: float) -> None:
    """The noise and what rounding adds, and never a step of the counts."""
    rng = np.random.default_rng(2)
    level = 500 + rng.uniform(0, 1, (300, 300))
    stack = [np.rint(rng.normal(level, sigma)).astype(np.float32) for _ in range(8)]
    stack[3][::2, 7] = 4000
    assert typical_noise(stack) == pytest.approx(np.hypot(sigma, 12**-0.5), rel=0.08)


def test_good_values_of_a_quiet_camera_are_not_clipped() -> None:
    rng = np.random.default_rng(3)
    stack = [np.rint(rng.normal(500.25, 0.3, (200, 200))).astype(np.float32) for _ in range(20)]
    combined = combine(stack)
    assert np.mean(combined.data) == pytest.approx(np.mean(stack), abs=2e-3)
    assert np.mean(combined.n_used) > 19.9


def test_structure_is_not_noise() -> None:
    pattern = np.random.default_rng(8).normal(0, 500, (100, 100))
    assert typical_noise(list(noise(4, (100, 100)) + pattern)) == pytest.approx(10, rel=0.05)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 7), st.just(3), st.just(4)),
        elements=st.floats(-1e5, 1e5, width=32),
    ),
    st.floats(1, 6),
    st.randoms(use_true_random=False),
)
def test_order_does_not_matter_and_the_result_lies_within(stack: np.ndarray, sigma: float, random) -> None:
    order = list(range(len(stack)))
    random.shuffle(order)
    one, other = (combine(s, sigma=sigma, noise_floor=1.0) for s in (stack, stack[order]))
    np.testing.assert_array_equal(one.n_used, other.n_used)
    np.testing.assert_allclose(one.data, other.data, rtol=1e-6, atol=1e-6)
    slack = 1e-5 * np.abs(stack).max() + 1e-6
    assert (one.data >= stack.min(axis=0) - slack).all()
    assert (one.data <= stack.max(axis=0) + slack).all()
    assert (one.n_used >= 1).all()


@pytest.mark.parametrize(
    ("stack", "method", "sigma", "message"),
    [
        ([], "clipped_mean", 4.0, "1 to 65535 frames, got 0"),
        ([np.ones((2, 2)), np.ones((2, 3))], "clipped_mean", 4.0, "one shape"),
        ([np.ones(4)], "clipped_mean", 4.0, "one shape"),
        ([np.ones((2, 2))], "mode", 4.0, "unknown method 'mode'"),
        ([np.ones((2, 2))], "median", 0.0, "sigma must be positive"),
    ],
)
def test_senseless_input_is_named(stack: list, method: str, sigma: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        combine(stack, method, sigma)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7, 8, 16, 17, 30, 33, 70])
def test_networks_sort_any_number_of_frames(n: int) -> None:
    """Ties, gaps and odd block widths included: numpy's median and MAD are the answer."""
    rng = np.random.default_rng(n)
    stack = rng.integers(0, 9, (n, 3, 300)).astype(np.float32)
    stack[rng.random(stack.shape) < 0.15] = np.nan
    found = combine(stack, "median")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        median = np.nanmedian(stack, axis=0)
        mad = np.nanmedian(np.abs(stack - median), axis=0)
    np.testing.assert_array_equal(found.data, median)
    np.testing.assert_allclose(found.scatter, 1.4826 * mad, rtol=1e-4)
    np.testing.assert_array_equal(found.n_used, np.isfinite(stack).sum(axis=0))
