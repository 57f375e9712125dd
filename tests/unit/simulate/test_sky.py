"""Stars: the extract, what is drawn, and the target among them."""

from __future__ import annotations

import numpy as np
import pytest

from nightflow.errors import ConfigurationError
from nightflow.simulate.sky import Stars, bright_stars, draw_field, magnitude_in, star_counts


def draw(seed: int = 3, **changes: object) -> Stars:
    settings: dict[str, object] = {
        "ra": 31.0427,
        "dec": 46.6878,
        "half_width": 0.7,
        "bright_file": "tycho2_hatp32.csv",
        "bright_limit": 11.5,
        "faint_limit": 18.0,
        "density": 500.0,
        "target_v": 11.44,
        "target_v_r": 0.3,
    }
    return draw_field(np.random.default_rng(seed), **{**settings, **changes})  # type: ignore[arg-type]


def test_extract_holds_the_tycho_stars_of_the_field() -> None:
    ra, dec, vt = bright_stars("tycho2_hatp32.csv")
    assert len(ra) == 128
    assert np.all(np.abs(ra - 31.04) < 1.2)
    assert np.all(np.abs(dec - 46.69) < 0.9)
    assert vt.min() == pytest.approx(7.066)


def test_target_is_the_tycho_star_at_its_place() -> None:
    stars = draw()
    assert stars.is_target.sum() == 1
    assert stars.v[stars.is_target][0] == pytest.approx(11.482)
    assert stars.v_r[stars.is_target][0] == pytest.approx(0.3)


def test_target_is_added_where_the_extract_lacks_it() -> None:
    stars = draw(bright_file=None, ra=200.0, dec=-30.0)
    assert stars.v[stars.is_target][0] == pytest.approx(11.44)
    assert stars.ra[stars.is_target][0] == 200.0


def test_no_drawn_star_dilutes_the_target() -> None:
    stars = draw(density=50_000.0, faint_limit=16.0)
    distance = 3600 * np.hypot((stars.ra - 31.0427) * np.cos(np.radians(46.6878)), stars.dec - 46.6878)
    assert np.sort(distance)[0] < 5.0
    assert np.sort(distance)[1] > 25.0


def test_density_is_what_was_asked_for() -> None:
    stars = draw(bright_file=None, density=2000.0)
    area = 1.4**2
    expected = 2000.0 * area * (1.0 - star_counts(np.array(7.0)))
    assert np.count_nonzero(stars.v < 16.0) == pytest.approx(expected, abs=5 * np.sqrt(expected))


def test_counts_flatten_towards_faint_stars() -> None:
    counts = star_counts(np.array([10.5, 11.5, 17.5, 18.5]))
    slopes = np.log10(counts[1::2] / counts[::2])
    assert slopes[0] == pytest.approx(0.38, abs=0.02)
    assert slopes[1] == pytest.approx(0.205, abs=0.02)


def test_proper_motion_returns_to_its_epoch() -> None:
    stars = draw()
    there_and_back = stars.at_epoch(2025.8).at_epoch(2000.0)
    np.testing.assert_allclose(there_and_back.ra, stars.ra, atol=1e-8)
    moved = (stars.at_epoch(2010.0).dec - stars.dec) * 3.6e6
    np.testing.assert_allclose(moved, 10 * stars.pmdec, atol=1e-4)


def test_red_stars_are_brighter_in_red_light() -> None:
    v, v_r = np.array([12.0]), np.array([0.5])
    assert magnitude_in("I", v, v_r) < magnitude_in("R", v, v_r) < v < magnitude_in("B", v, v_r)


def test_unknown_band_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"'Q'.*B, V, R, I"):
        magnitude_in("Q", np.array([12.0]), np.array([0.5]))
