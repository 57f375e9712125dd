"""The oracle is astroscrappy with true medians; its answer is never computed by the code under test."""

import astroscrappy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightflow.detector.lacosmic import find_hits, replace_hits
from nightflow.simulate.cosmic_rays import draw_cosmic_rays

SHAPE = (230, 210)
READ_NOISE = 6.0


def starry_frame(
    seed: int, sky: float = 150.0, fwhm: float = 2.4
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return electrons, variance and excluded pixels of a crowded, sharp field with hits and faults."""
    random = np.random.default_rng(seed)
    y, x = np.indices(SHAPE)
    image = np.full(SHAPE, sky) * (1 - 0.2 * np.hypot(x - 100, y - 110) / 150)
    for _ in range(90):
        px, py, flux = *random.uniform(-5, 235, 2), 10 ** random.uniform(2.5, 5.5)
        sigma = fwhm / 2.3548
        image += flux / (2 * np.pi * sigma**2) * np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * sigma**2))
    hits = draw_cosmic_rays(random, SHAPE, per_minute=60.0, exptime=60.0)
    electrons = random.poisson(image).astype(float)
    electrons[hits.y, hits.x] += hits.electrons
    electrons[:, 77] *= 0.05
    data = (electrons + random.normal(0, READ_NOISE, SHAPE)).astype(np.float32)
    data[40:44, 60] = 90000
    excluded = data > 80000
    excluded[:, 77] = True
    variance = np.maximum(data, 0) + np.float32(READ_NOISE**2)
    return data, variance.astype(np.float32), excluded


def oracle(
    data: np.ndarray, variance: np.ndarray, excluded: np.ndarray, niter: int = 1, **limits: float
) -> tuple[np.ndarray, np.ndarray]:
    parameters = {"sigclip": 4.5, "sigfrac": 0.3, "objlim": 5.0} | limits
    hit, cleaned = astroscrappy.detect_cosmics(
        data,
        inmask=excluded,
        invar=variance,
        niter=niter,
        gain=1.0,
        satlevel=np.inf,
        sepmed=False,
        cleantype="meanmask",
        fsmode="median",
        **parameters,
    )
    return hit.astype(bool), cleaned


def assert_alike(mask: np.ndarray, truth: np.ndarray) -> None:
    assert np.mean(mask == truth) >= 0.9999
    either = np.count_nonzero(mask | truth)
    assert np.count_nonzero(mask & truth) >= 0.995 * either


@pytest.mark.parametrize("niter", [1, 2, 4])
def test_masks_are_those_of_astroscrappy(niter: int) -> None:
    frame = starry_frame(1)
    truth, _ = oracle(*frame, niter=niter)
    assert truth.sum() > 300
    assert_alike(find_hits(*frame, niter=niter), truth)


@given(
    seed=st.integers(0, 10**6),
    sky=st.floats(0.0, 5000.0),
    fwhm=st.floats(1.2, 6.0),
    sigclip=st.floats(2.5, 8.0),
    sigfrac=st.floats(0.1, 1.0),
    objlim=st.floats(1.0, 8.0),
)
@settings(max_examples=15, deadline=None)
def test_masks_are_those_of_astroscrappy_whatever_the_sky_and_the_limits(
    seed: int, sky: float, fwhm: float, sigclip: float, sigfrac: float, objlim: float
) -> None:
    frame = starry_frame(seed, sky, fwhm)
    limits = {"sigclip": sigclip, "sigfrac": sigfrac, "objlim": objlim}
    truth, _ = oracle(*frame, **limits)
    assert_alike(find_hits(*frame, **limits), truth)


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_change_nothing(threads: int) -> None:
    frame = starry_frame(2)
    np.testing.assert_array_equal(find_hits(*frame, threads=threads), find_hits(*frame, threads=2))


def test_excluded_pixels_and_their_neighbours_are_never_hits() -> None:
    data, variance, excluded = starry_frame(3)
    hit = find_hits(data, variance, excluded)
    rows, columns = np.nonzero(excluded)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            assert not hit[np.clip(rows + dy, 0, 229), np.clip(columns + dx, 0, 209)].any()


def test_replaced_values_are_those_of_astroscrappy() -> None:
    frame = starry_frame(4)
    hit, cleaned = oracle(*frame)
    replaced = replace_hits(frame[0], hit, frame[2])
    np.testing.assert_allclose(replaced[hit], cleaned[hit], rtol=1e-5)
    np.testing.assert_array_equal(replaced[~hit], frame[0][~hit])


def test_a_hit_without_a_good_neighbour_gets_the_median() -> None:
    data = np.full((40, 40), 100, np.float32)
    hit = np.zeros(data.shape, bool)
    hit[10:20, 10:20] = True
    data[hit] = 5000
    data[0] = 300
    assert replace_hits(data, hit, np.zeros_like(hit))[15, 15] == 100


def test_the_arguments_are_not_changed() -> None:
    data, variance, excluded = starry_frame(5)
    kept = data.copy(), variance.copy(), excluded.copy()
    find_hits(data, variance, excluded, niter=3)
    for before, after in zip(kept, (data, variance, excluded), strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_quiet_sky_has_no_hits() -> None:
    random = np.random.default_rng(6)
    data = random.normal(200, 10, SHAPE).astype(np.float32)
    none = np.zeros(SHAPE, bool)
    assert not find_hits(data, np.full(SHAPE, 100, np.float32), none, sigclip=7.0).any()
