"""Stars out of index files: the packaged one against the catalogue it was made of, and Debian's Tycho-2."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from numpy.typing import NDArray
from scipy.spatial import cKDTree

import nightflow.simulate
from nightflow.astrometry.astrometry_net import PACKAGED_INDEX_FOLDER, SYSTEM_INDEX_FOLDER
from nightflow.catalogs.importer import import_catalog
from nightflow.catalogs.index_stars import is_index, read_index_folder, read_index_stars
from nightflow.catalogs.local import LocalCatalogs
from nightflow.errors import ConfigurationError

INDEX = PACKAGED_INDEX_FOLDER / "index-hatp32-tycho2.fits"
SOURCE = Path(nightflow.simulate.__file__).parent / "data" / "tycho2_hatp32.csv"
TYCHO_STARS = 1_871_011
"""In Debian's index of 22', which is the whole catalogue."""


def vectors(table: Table) -> NDArray[np.float64]:
    ra, dec = np.radians(np.asarray(table["ra"])), np.radians(np.asarray(table["dec"]))
    return np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])


def nearest(table: Table, of: Table) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return the distance in arcsec and the row of the nearest star of ``table`` for each star of ``of``."""
    distance, rows = cKDTree(vectors(table)).query(vectors(of))
    return np.degrees(distance) * 3600.0, rows


@pytest.fixture
def published() -> Table:
    return Table.read(SOURCE, comment="#")


def test_each_star_of_the_catalogue_with_its_magnitude(published: Table) -> None:
    stars = read_index_stars(INDEX)
    assert len(stars) == len(published) == 128
    distance, rows = nearest(stars, published)
    assert len(set(rows)) == 128
    # seven decimals of a degree in the file, 0.0001" in the index
    assert distance.max() < 0.001
    np.testing.assert_allclose(stars["MAG"][rows], published["vt"], atol=2e-3)


def test_a_folder_gives_each_star_once(tmp_path: Path) -> None:
    for name in ("index-a.fits", "index-b.fits"):
        shutil.copy(INDEX, tmp_path / name)
    (tmp_path / "notes.fits").write_text("no index")
    assert len(read_index_folder(tmp_path)) == 128
    report = import_catalog(tmp_path, "stars", tmp_path / "catalogs")
    assert report.n_stars == 128


def test_an_index_is_told_from_a_table(tmp_path: Path, published: Table) -> None:
    table = tmp_path / "stars.fits"
    published.write(table)
    assert is_index(INDEX)
    assert not is_index(table)
    assert import_catalog(table, "table", tmp_path / "catalogs").n_stars == 128


def changed(path: Path, column: str, replacement: bytes) -> Path:
    """Write a copy of the index with other bytes at the start of a table."""
    content = bytearray(INDEX.read_bytes())
    with fits.open(INDEX) as hdus:
        hdu = next(hdu for hdu in hdus[1:] if hdu.columns.names == [column])
        start = hdu.fileinfo()["datLoc"]
    content[start : start + len(replacement)] = replacement
    path.write_bytes(content)
    return path


def test_numbers_that_are_no_places_on_the_sky_are_refused(tmp_path: Path) -> None:
    file = changed(tmp_path / "index-1.fits", "kdtree_range_stars", np.full(7, 5.0).astype("<f8").tobytes())
    with pytest.raises(ConfigurationError, match=r"index-1\.fits: .*no unit vectors"):
        read_index_stars(file)


def test_an_index_that_was_cut_off_and_a_folder_without_any(tmp_path: Path) -> None:
    (tmp_path / "index-1.fits").write_bytes(INDEX.read_bytes()[:-2880])
    with pytest.raises(ConfigurationError, match="cut off"):
        read_index_stars(tmp_path / "index-1.fits")
    with pytest.raises(ConfigurationError, match=r"no astrometry\.net index file in this folder"):
        import_catalog(tmp_path, "none", tmp_path / "catalogs")


@pytest.mark.system
def test_tycho_2_by_one_command(tmp_path: Path, published: Table) -> None:
    """All of Debian's catalogue: 10 s and 1 GB."""
    if not list(SYSTEM_INDEX_FOLDER.glob("index-tycho2-07*")):
        pytest.skip("Debian's package astrometry-data-tycho2-07 is not installed")
    report = import_catalog(SYSTEM_INDEX_FOLDER, "tycho2", tmp_path)
    assert (report.n_stars, report.bands, report.epoch) == (TYCHO_STARS, ("VT",), 2000.0)
    field = LocalCatalogs(tmp_path).cone("tycho2", 31.04, 46.69, 1.2)
    stars = Table({"ra": field.ra, "dec": field.dec})
    distance, rows = nearest(stars, published)
    inside = nearest(Table({"ra": [31.04], "dec": [46.69]}), published)[0] < 3600.0
    assert distance[inside].max() < 0.01
    np.testing.assert_allclose(field.mags["VT"][rows[inside]], published["vt"][inside], atol=2e-3)
