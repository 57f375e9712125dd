from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from hypothesis import given, settings
from hypothesis import strategies as st

from nightflow.catalogs.local import LocalCatalogs, separation
from nightflow.catalogs.stars import ReferenceStars
from nightflow.catalogs.tiles import tiles_in_cone, write_catalog
from nightflow.errors import ConfigurationError

N = 3_000


def whole_sky(n: int, name: str = "sky", seed: int = 1) -> ReferenceStars:
    rng = np.random.default_rng(seed)
    return ReferenceStars(
        catalog=name,
        ra=rng.uniform(0, 360, n),
        dec=np.degrees(np.arcsin(rng.uniform(-1, 1, n))),
        pmra=np.zeros(n),
        pmdec=np.zeros(n),
        epoch=2016.0,
        ids=np.array([str(i) for i in range(n)]),
        mags={"G": np.where(rng.uniform(size=n) < 0.1, np.nan, rng.uniform(5, 15, n))},
        mag_errs={"G": np.full(n, 0.01)},
    )


def write(folder: Path, stars: ReferenceStars):
    return write_catalog(folder, stars, source="made up", created="2026-01-01T00:00:00+00:00")


@pytest.fixture(scope="module")
def sky() -> ReferenceStars:
    return whole_sky(N)


@pytest.fixture(scope="module")
def catalogs(sky, tmp_path_factory) -> LocalCatalogs:
    folder = tmp_path_factory.mktemp("catalogs")
    write(folder, sky)
    return LocalCatalogs(folder, cached_tiles=2000)


@given(
    st.floats(0, 360), st.one_of(st.floats(-90, 90), st.sampled_from([-90.0, 90.0])), st.floats(0.01, 25.0)
)
@settings(max_examples=60, deadline=None)
def test_cone_is_what_astropy_says(catalogs, sky, ra, dec, radius):
    distance = SkyCoord(sky.ra, sky.dec, unit="deg").separation(SkyCoord(ra, dec, unit="deg")).deg
    found = set(catalogs.cone("sky", ra, dec, radius).ids.tolist())
    assert set(sky.ids[distance < radius - 1e-9].tolist()) <= found
    assert found <= set(sky.ids[distance < radius + 1e-9].tolist())


@pytest.mark.parametrize("place", [(0.0, 0.0), (359.999, 10.0), (77.0, 90.0), (300.0, -90.0), (45.0, 41.81)])
def test_small_cones_miss_no_tile(place):
    rng = np.random.default_rng(2)
    ra0, dec0 = place
    centre = SkyCoord(ra0, dec0, unit="deg")
    points = centre.directional_offset_by(
        rng.uniform(0, 360, 500) * centre.ra.unit, rng.uniform(0, 0.7, 500) * centre.ra.unit
    )
    needed = {int(tiles_in_cone(p.ra.deg, p.dec.deg, 1e-6)[0]) for p in points[:60]}
    assert needed <= set(tiles_in_cone(ra0, dec0, 0.71).tolist())


def test_brightest_first_and_unknown_last(catalogs):
    magnitude = catalogs.cone("sky", 100.0, 20.0, 10.0).mags["G"]
    known = np.isfinite(magnitude)
    assert np.all(np.diff(magnitude[known]) >= 0)
    assert not known[known.sum() :].any()


def test_limit_magnitude(catalogs):
    stars = catalogs.cone("sky", 100.0, 20.0, 10.0, limit_mag=9.0)
    assert 0 < len(stars) < len(catalogs.cone("sky", 100.0, 20.0, 10.0))
    assert stars.mags["G"].max() <= 9.0


def test_whole_sky_and_nothing(catalogs):
    assert len(catalogs.cone("sky", 0.0, 0.0, 180.0)) == N
    empty = catalogs.cone("sky", 0.0, 0.0, 1e-9)
    assert len(empty) == 0
    assert list(empty.mags) == ["G"]
    assert len(empty.at_epoch(2026.0)) == 0


def test_warm_answer_is_the_same(catalogs):
    cold = LocalCatalogs(catalogs.folder, cached_tiles=1).cone("sky", 0.0, 89.0, 5.0)
    warm = catalogs.cone("sky", 0.0, 89.0, 5.0)
    again = catalogs.cone("sky", 0.0, 89.0, 5.0)
    assert cold.ids.tolist() == warm.ids.tolist() == again.ids.tolist()


def test_cache_is_bounded(catalogs):
    small = LocalCatalogs(catalogs.folder, cached_tiles=5)
    small.cone("sky", 0.0, 0.0, 20.0)
    assert len(small._tiles) == 5


def test_import_is_seen_by_a_warm_reader(tmp_path):
    write(tmp_path, whole_sky(100))
    catalogs = LocalCatalogs(tmp_path)
    assert len(catalogs.cone("sky", 0.0, 0.0, 180.0)) == 100
    write(tmp_path, whole_sky(50, seed=2))
    assert len(catalogs.cone("sky", 0.0, 0.0, 180.0)) == 50


def test_lost_tiles_are_named(tmp_path):
    metadata = write(tmp_path, whole_sky(100))
    shutil.rmtree(tmp_path / "sky" / metadata.generation)
    with pytest.raises(ConfigurationError, match="tiles are missing; import it again"):
        LocalCatalogs(tmp_path).cone("sky", 0.0, 0.0, 180.0)


def test_damaged_metadata_are_named(tmp_path):
    write(tmp_path, whole_sky(100))
    (tmp_path / "sky" / "catalog.json").write_text("{")
    with pytest.raises(ConfigurationError, match=r"catalog\.json: damaged"):
        LocalCatalogs(tmp_path).cone("sky", 0.0, 0.0, 1.0)


def test_unknown_catalogue(tmp_path):
    with pytest.raises(ConfigurationError, match="no catalogue 'gaia'"):
        LocalCatalogs(tmp_path).cone("gaia", 0.0, 0.0, 1.0)
    with pytest.raises(ConfigurationError, match="catalogue name"):
        LocalCatalogs(tmp_path).cone("../gaia", 0.0, 0.0, 1.0)
    assert LocalCatalogs(tmp_path / "absent").names() == []


def test_covering(tmp_path):
    stars = whole_sky(400)
    north = stars.take(stars.dec > 0)
    write(tmp_path, stars)
    write(tmp_path, replace(north, catalog="north"))
    write(tmp_path, replace(stars.take(np.arange(200)), catalog="few"))
    catalogs = LocalCatalogs(tmp_path)
    assert catalogs.names() == ["few", "north", "sky"]
    assert catalogs.covering(10.0, -45.0, 20.0) == ["sky", "few"]
    assert catalogs.covering(10.0, 45.0, 20.0, ["few", "absent", "few"]) == ["few", "north", "sky"]
    assert catalogs.covering(10.0, -45.0, 20.0, ["north"]) == ["sky", "few"]


@given(st.floats(0, 359.9), st.floats(-90, 90), st.floats(0, 359.9), st.floats(-90, 90))
def test_separation_agrees_with_astropy(ra, dec, ra0, dec0):
    expected = SkyCoord(ra, dec, unit="deg").separation(SkyCoord(ra0, dec0, unit="deg")).deg
    assert separation(np.array([ra]), np.array([dec]), ra0, dec0)[0] == pytest.approx(expected, abs=2e-6)
