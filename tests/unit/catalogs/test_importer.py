from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, Table

from nightflow.catalogs.importer import import_catalog
from nightflow.catalogs.local import LocalCatalogs
from nightflow.errors import ConfigurationError

PLAIN = "name,ra,dec,V,B,R,r,V_err,pmra,pmdec,epoch\na,10.0,20.0,9.5,10.1,9.2,9.3,0.01,5.0,-6.0,2000\n"


def write(folder: Path, text: str, name: str = "stars.csv") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def everything(folder: Path, name: str = "cat"):
    return LocalCatalogs(folder / "catalogs").cone(name, 0.0, 0.0, 180.0)


def run(folder: Path, file: Path, name: str = "cat"):
    return import_catalog(file, name, folder / "catalogs")


def gaia_table() -> Table:
    return Table(
        {
            "source_id": np.array([4295806720, 34361129088], np.int64),
            "ra": [44.99615, 359.99],
            "dec": [0.00562, -89.5],
            "pmra": MaskedColumn([11.5, 0.0], mask=[False, True]),
            "pmdec": MaskedColumn([-3.25, 0.0], mask=[False, True]),
            "ref_epoch": [2016.0, 2016.0],
            "phot_g_mean_mag": [14.1, 15.2],
            "phot_bp_mean_mag": MaskedColumn([14.6, 0.0], mask=[False, True]),
            "phot_rp_mean_mag": [13.5, 14.7],
        }
    )


def test_plain_names(tmp_path):
    report = run(tmp_path, write(tmp_path, PLAIN))
    assert (report.n_read, report.n_stars, report.n_bad) == (1, 1, 0)
    assert report.bands == ("B", "V", "R", "r")
    assert report.warnings == ()
    stars = everything(tmp_path)
    assert stars.ids.tolist() == ["a"]
    assert (stars.pmra[0], stars.pmdec[0], stars.epoch) == (5.0, -6.0, 2000.0)
    assert [round(float(stars.mags[band][0]), 3) for band in ("B", "V", "R", "r")] == [10.1, 9.5, 9.2, 9.3]
    assert stars.mag_errs["V"][0] == pytest.approx(0.01)


def test_a_catalogue_without_a_band_says_what_it_is_good_for(tmp_path):
    report = run(tmp_path, write(tmp_path, "name,ra,dec,brightness,epoch\na,10.0,20.0,9.5,2000\n"))
    assert report.bands == ()
    assert report.warnings == (
        "no column is a magnitude of a known band: the catalogue can solve a WCS, but no zero point; it has "
        "name, ra, dec, brightness, epoch",
    )


@pytest.mark.parametrize("suffix", ["ecsv", "vot", "fits", "csv"])
def test_gaia_in_every_format(tmp_path, suffix):
    file = tmp_path / f"gaia.{suffix}"
    table = gaia_table()
    formats = {"ecsv": "ascii.ecsv", "vot": "votable", "fits": "fits", "csv": "ascii.csv"}
    table.write(file, format=formats[suffix])
    report = run(tmp_path, file)
    assert (report.n_stars, report.epoch, report.bands) == (2, 2016.0, ("G", "BP", "RP"))
    stars = everything(tmp_path)
    assert sorted(stars.ids) == ["34361129088", "4295806720"]
    first = stars.take(stars.ids == "4295806720")
    assert (first.ra[0], first.dec[0], first.pmra[0]) == (44.99615, 0.00562, 11.5)
    second = stars.take(stars.ids == "34361129088")
    assert (second.pmra[0], second.pmdec[0]) == (0.0, 0.0)
    assert np.isnan(second.mags["BP"][0])


def test_units_are_converted(tmp_path):
    table = Table({"ra": [1.0] * u.hourangle, "dec": [60.0] * u.arcmin, "V": [9.0] * u.mag})
    table["pmra"] = [0.002] * u.arcsec / u.yr
    table["pmdec"] = [0.001] * u.arcsec / u.yr
    table.write(tmp_path / "stars.ecsv", format="ascii.ecsv")
    run(tmp_path, tmp_path / "stars.ecsv")
    stars = everything(tmp_path)
    assert (stars.ra[0], stars.dec[0]) == pytest.approx((15.0, 1.0))
    assert (stars.pmra[0], stars.pmdec[0]) == pytest.approx((2.0, 1.0))


def test_epoch_that_is_assumed_is_reported(tmp_path):
    plain = run(tmp_path, write(tmp_path, "ra,dec,V\n1,2,3\n"))
    assert plain.epoch == 2000.0
    assert "epoch 2000.0" in plain.warnings[0]
    gaia = run(tmp_path, write(tmp_path, "ra,dec,phot_g_mean_mag\n1,2,3\n"), "gaia")
    assert gaia.epoch == 2016.0


def test_mixed_epochs_become_one(tmp_path):
    text = "ra,dec,V,pmra,pmdec,epoch\n10,0,9,0,0,2000\n20,0,9,3600,0,1990\n30,0,9,0,0,2000\n"
    assert run(tmp_path, write(tmp_path, text)).epoch == 2000.0
    assert sorted(everything(tmp_path).ra) == pytest.approx([10.0, 20.01, 30.0])


def test_bad_rows_are_counted_and_left_out(tmp_path):
    text = "ra,dec,V\n10,20,9\n,20,9\n10,,9\n10,95,9\nnan,1,2\n1e9,0,9\nabc,1,2\n-10,5,9\n"
    report = run(tmp_path, write(tmp_path, text))
    assert (report.n_read, report.n_stars, report.n_bad) == (8, 2, 6)
    assert any("6 of 8 rows" in warning for warning in report.warnings)
    assert sorted(everything(tmp_path).ra) == [10.0, 350.0]


def test_empty_cells_and_sentinels_are_unknown(tmp_path):
    run(tmp_path, write(tmp_path, "ra,dec,V,B,gaia_id\n1,2,,99.99,0\n3,4,9.0,-99,17\n"))
    stars = everything(tmp_path)
    by_ra = np.argsort(stars.ra)
    assert np.isnan(stars.mags["V"][by_ra]).tolist() == [True, False]
    assert "B" not in stars.mags
    assert stars.ids[by_ra].tolist() == ["", "17"]


def test_magnitudes_labelled_as_proper_motions_are_not_used(tmp_path):
    rows = "".join(f"{10 + i},20,{9 + 0.1 * i},{9.5 + 0.1 * i},{8.6 + 0.1 * i}\n" for i in range(6))
    report = run(tmp_path, write(tmp_path, "ra,dec,g_gaia,pmra,pmdec\n" + rows))
    assert any("as BP and RP would" in warning for warning in report.warnings)
    assert not everything(tmp_path).pmra.any()


def test_real_motions_near_the_magnitudes_of_some_stars_are_used(tmp_path):
    rows = "".join(f"{10 + i},20,9.0,{9.0 - 4 * i},{7.0 + 3 * i}\n" for i in range(6))
    run(tmp_path, write(tmp_path, "ra,dec,g_gaia,pmra,pmdec\n" + rows))
    assert everything(tmp_path).pmra.any()


@pytest.mark.parametrize("name", ["", "..", "a/b", "Tycho", "-x", "a b", "é", "x\n", "a" + "\0"])
def test_name_may_not_leave_the_folder(tmp_path, name):
    with pytest.raises(ConfigurationError, match="catalogue name"):
        run(tmp_path, write(tmp_path, PLAIN), name)
    assert not (tmp_path / "catalogs").exists()


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("absent.csv", None, "no such catalogue file"),
        ("stars.png", "x", "names no catalogue format"),
        ("stars.csv", "right,left\n1,2\n", "no column for ra and dec; it has right, left"),
        ("stars.csv", "ra,dec\nx,y\n", "none of 1 rows"),
        ("stars.fits", "SIMPLE", "does not read as fits"),
        ("stars.vot", "<html></html>", "does not read as votable"),
        ("stars.csv", "", "no column for ra and dec"),
    ],
)
def test_unusable_files_name_the_fault(tmp_path, file, text, words):
    if text is not None:
        write(tmp_path, text, file)
    with pytest.raises(ConfigurationError, match=words) as caught:
        run(tmp_path, tmp_path / file)
    assert file in str(caught.value)


def test_import_again_replaces(tmp_path):
    run(tmp_path, write(tmp_path, "ra,dec,V\n1,2,3\n4,5,6\n"))
    run(tmp_path, write(tmp_path, "ra,dec,V\n7,8,9\n"))
    assert everything(tmp_path).ra.tolist() == [7.0]
    generations = [path for path in (tmp_path / "catalogs" / "cat").iterdir() if path.is_dir()]
    assert len(generations) == 1


def test_failed_import_leaves_the_old_one(tmp_path, monkeypatch):
    run(tmp_path, write(tmp_path, "ra,dec,V\n1,2,3\n"))

    def full_disk(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nightflow.catalogs.tiles.pq.write_table", full_disk)
    with pytest.raises(OSError, match="No space left"):
        run(tmp_path, write(tmp_path, "ra,dec,V\n7,8,9\n"))
    assert everything(tmp_path).ra.tolist() == [1.0]
    assert sum(path.is_dir() for path in (tmp_path / "catalogs" / "cat").iterdir()) == 1
