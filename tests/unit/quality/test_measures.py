"""What the stars say of a frame."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightflow.quality.measures import frame_ellipticity, frame_fwhm, frame_trailing


def stars(count: int = 60, seed: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return widths around 3 pixels, signal to noise, and that all are isolated."""
    rng = np.random.default_rng(seed)
    return rng.normal(3.0, 0.1, count), np.full(count, 50.0), np.ones(count, bool)


def test_the_width_is_that_of_the_stars() -> None:
    assert frame_fwhm(*stars()) == pytest.approx(3.0, abs=0.03)


def test_galaxies_and_cosmic_rays_do_not_count() -> None:
    fwhm, snr, isolated = stars()
    others = np.r_[np.full(15, 7.0), np.full(10, 0.8)]
    everything = np.r_[fwhm, others]
    found = frame_fwhm(everything, np.full(85, 50.0), np.ones(85, bool))
    assert found == pytest.approx(np.median(fwhm), abs=0.03)
    assert abs(np.mean(everything) - 3.0) > 0.3
    assert len(snr) == isolated.sum()


def test_faint_blended_and_unmeasured_ones_do_not_count() -> None:
    fwhm, snr, isolated = stars()
    fwhm[:20], snr[:20] = 9.0, 3.0
    fwhm[20:30], isolated[20:30] = 9.0, False
    fwhm[30:35] = np.nan
    assert frame_fwhm(fwhm, snr, isolated) == pytest.approx(3.0, abs=0.05)
    assert frame_ellipticity(fwhm, snr, isolated) == pytest.approx(3.0, abs=0.05)


def test_without_a_bright_star_the_others_must_do() -> None:
    fwhm, snr, isolated = stars()
    assert frame_fwhm(fwhm, 0.1 * snr, isolated) == frame_fwhm(fwhm, snr, isolated)


@pytest.mark.parametrize("measure", [frame_fwhm, frame_ellipticity])
def test_without_a_star_it_is_unknown(measure) -> None:
    none = np.empty(0)
    assert np.isnan(measure(none, none, none.astype(bool)))
    assert np.isnan(measure(np.full(3, np.nan), np.full(3, 50.0), np.ones(3, bool)))
    assert np.isnan(measure(np.full(3, 2.0), np.full(3, 50.0), np.zeros(3, bool)))


def test_the_ellipticity_is_the_median() -> None:
    values = np.array([0.1, 0.2, 0.9])
    assert frame_ellipticity(values, np.full(3, 50.0), np.ones(3, bool)) == pytest.approx(0.2)


@given(st.lists(st.floats(0.5, 50.0), min_size=1, max_size=40))
def test_the_width_is_one_that_was_measured_or_between_two(values: list[float]) -> None:
    fwhm = np.array(values)
    found = frame_fwhm(fwhm, np.full(len(fwhm), 50.0), np.ones(len(fwhm), bool))
    assert fwhm.min() <= found <= fwhm.max()


def test_what_all_stars_share_is_trailing() -> None:
    _, snr, isolated = stars()
    amount, angle = frame_trailing(np.full(60, 0.25), np.full(60, np.radians(170.0)), snr, isolated)
    assert (amount, angle) == (pytest.approx(0.25), pytest.approx(170.0))


def test_what_turns_from_star_to_star_is_none() -> None:
    """Astigmatism: all stars point to the middle of the field."""
    _, snr, isolated = stars()
    amount, _ = frame_trailing(np.full(60, 0.25), np.linspace(0.0, np.pi, 60, endpoint=False), snr, isolated)
    assert amount < 0.02
    assert np.isnan(frame_trailing(np.empty(0), np.empty(0), np.empty(0), np.empty(0, bool))).all()
