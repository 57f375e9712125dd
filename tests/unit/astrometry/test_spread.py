from __future__ import annotations

import numpy as np

from nightflow.astrometry.spread import evenly, select_stars
from nightflow.flags import Flag
from nightflow.sources.table import SourceTable

RNG = np.random.default_rng(6)


def table(n: int, **columns: np.ndarray) -> SourceTable:
    values = {name: np.zeros(n) for name in SourceTable.__dataclass_fields__}
    values |= {
        "x": RNG.uniform(0, 999, n),
        "y": RNG.uniform(0, 999, n),
        "flux": RNG.uniform(1e3, 1e5, n),
        "fwhm": np.full(n, 3.0),
        "ellipticity": np.full(n, 0.1),
        "flags": np.zeros(n, np.uint16),
    }
    return SourceTable(**{**values, **columns})


def test_a_cluster_does_not_take_all_places():
    x = np.concatenate([RNG.normal(500, 20, 200), RNG.uniform(0, 999, 100)])
    y = np.concatenate([RNG.normal(500, 20, 200), RNG.uniform(0, 999, 100)])
    flux = np.concatenate([np.full(200, 1e6), np.full(100, 1e3)])
    chosen = evenly(x, y, flux, 250.0, 50)
    assert np.sum(chosen >= 200) > 30
    assert len(np.unique(chosen)) == 50


def test_brightest_of_each_cell_comes_first():
    x, y = np.array([1.0, 2.0, 11.0, 12.0]), np.zeros(4)
    chosen = evenly(x, y, np.array([1.0, 5.0, 3.0, np.nan]), 10.0, 4)
    assert chosen.tolist() == [1, 2, 0, 3]


def test_selection_leaves_out_what_is_no_clean_star():
    sources = table(20)
    sources.flags[:5] = [Flag.DEAD, Flag.EDGE, Flag.BAD, Flag.TRAIL, Flag.HOT]
    sources.ellipticity[5] = 0.9
    sources.fwhm[6] = 0.8
    sources.x[7] = np.nan
    sources.flux[8] = -1.0
    assert sorted(select_stars(sources, (1000, 1000))) == list(range(9, 20))


def test_stars_with_a_hit_in_the_aperture_stay():
    sources = table(20)
    sources.flags[3] = Flag.COSMIC_RAY
    assert 3 in select_stars(sources, (1000, 1000))


def test_round_saturated_stars_stay_and_bled_columns_go():
    sources = table(20, flags=np.full(20, int(Flag.SATURATED), np.uint16))
    sources.ellipticity[3] = 0.95
    assert sorted(select_stars(sources, (1000, 1000))) == [0, 1, 2, *range(4, 20)]


def test_blended_stars_come_after_clean_ones():
    flags = np.zeros(200, np.uint16)
    flags[::2] = Flag.NEIGHBOUR
    sources = table(200, flux=RNG.uniform(1e4, 5e4, 200), flags=flags)
    assert not np.any(flags[select_stars(sources, (1000, 1000), 16)])


def test_a_cluster_of_blends_sends_its_bright_stars_before_faint_clean_ones():
    flags = np.zeros(300, np.uint16)
    flags[:100] = Flag.NEIGHBOUR
    flux = np.concatenate([np.full(100, 1e5), np.full(200, 1e3)])
    assert np.all(select_stars(table(300, flux=flux, flags=flags), (1000, 1000), 16) < 100)


def test_harmless_flags_stay():
    sources = table(5, flags=np.full(5, int(Flag.NEIGHBOUR | Flag.WARM | Flag.INTERPOLATED), np.uint16))
    assert len(select_stars(sources, (1000, 1000))) == 5


def test_a_frame_of_trails_keeps_its_stars():
    assert len(select_stars(table(10, ellipticity=np.full(10, 0.7)), (1000, 1000))) == 10


def test_brightest_first_and_no_more_than_asked():
    sources = table(200)
    chosen = select_stars(sources, (1000, 1000), 40)
    assert len(chosen) == 40
    assert np.all(np.diff(sources.flux[chosen]) <= 0)


def test_nothing_in_nothing_out():
    assert len(select_stars(table(0), (1000, 1000))) == 0
