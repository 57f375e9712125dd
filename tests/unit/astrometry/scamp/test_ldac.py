"""Catalogues for SCAMP: astropy must read what we write, and nothing in it may make SCAMP crash."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from nightflow.astrometry.scamp.ldac import (
    Detections,
    LdacChip,
    chip_header,
    read_ldac,
    write_ldac,
    write_reference,
)
from nightflow.errors import NoSolution
from tests.unit.astrometry.synthetic import make_stars, make_wcs

WCS_CARDS = make_wcs(30.0, 60.0).to_header()


def detections(n: int = 5) -> Detections:
    rng = np.random.default_rng(1)
    return Detections(
        x=rng.uniform(0, 100, n),
        y=rng.uniform(0, 100, n),
        error=rng.uniform(0.01, 0.1, n),
        flux=rng.uniform(100, 1000, n),
        flux_err=rng.uniform(10, 20, n),
        flags=np.array([0, 4, 0, 2, 0][:n], np.int16),
    )


def chip(name: str, n: int = 5) -> LdacChip:
    header = chip_header((100, 120), WCS_CARDS, name=name, exptime=30.0, filter_name="r", mjd=60000.25)
    return LdacChip(header=header, stars=detections(n))


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    path = tmp_path / "two.fits"
    write_ldac(path, [chip("CCD1"), chip("CCD2", 3)])
    return path


def test_two_tables_a_chip(catalog: Path) -> None:
    with fits.open(catalog) as hdus:
        hdus.verify("exception")
        names = [hdu.name for hdu in hdus]
        assert names == ["PRIMARY", "LDAC_IMHEAD", "LDAC_OBJECTS", "LDAC_IMHEAD", "LDAC_OBJECTS"]
        assert [len(hdus[k].data) for k in (1, 2, 3, 4)] == [1, 5, 1, 3]


def test_pixels_are_counted_from_one(catalog: Path) -> None:
    with fits.open(catalog) as hdus:
        rows = hdus[2].data
        np.testing.assert_allclose(rows["XWIN_IMAGE"], detections().x + 1.0)
        np.testing.assert_allclose(rows["YWIN_IMAGE"], detections().y + 1.0)
        assert rows["FLAGS"].tolist() == [0, 4, 0, 2, 0]
        assert rows["MAG_AUTO"][0] == pytest.approx(-2.5 * np.log10(rows["FLUX_AUTO"][0]), abs=1e-5)


def test_image_header_holds_no_nul(catalog: Path) -> None:
    """SCAMP 2.10 dies of a cell that astropy has padded with NUL."""
    with fits.open(catalog) as hdus:
        head = hdus[1]
        start, width = head.fileinfo()["datLoc"], head.header["NAXIS1"]
    cell = catalog.read_bytes()[start : start + width]
    assert b"\0" not in cell
    assert width % 80 == 0
    cards = [cell[k : k + 80] for k in range(0, width, 80)]
    assert cards[0].startswith(b"SIMPLE  =")
    assert [card.strip() for card in cards if card.startswith(b"END")] == [b"END"]
    assert head.header["TFORM1"] == f"{width}A"
    assert head.header["TDIM1"] == f"(80, {width // 80})"
    assert head.header["TTYPE1"] == "Field Header Card"


def test_written_is_read_again(catalog: Path) -> None:
    first, second = read_ldac(catalog)
    assert first.header["EXTNAME"] == "CCD1"
    assert (second.header["NAXIS1"], second.header["NAXIS2"], second.header["CRVAL1"]) == (120, 100, 30.0)
    np.testing.assert_allclose(first.stars.x, detections().x)
    np.testing.assert_allclose(first.stars.error, detections().error, rtol=1e-6)
    assert len(second.stars) == 3


def test_cells_that_astropy_wrote_are_read_too(tmp_path: Path) -> None:
    """Other programs pad with NUL after END."""
    cell = np.array([WCS_CARDS.tostring(endcard=True, padding=False).encode() + b"\0" * 160])
    tables = fits.HDUList(
        [
            fits.PrimaryHDU(),
            fits.BinTableHDU(np.rec.fromarrays([cell], names="Field Header Card"), name="LDAC_IMHEAD"),
        ]
    )
    write_ldac(tmp_path / "one.fits", [chip("CCD1")])
    with fits.open(tmp_path / "one.fits") as ours:
        tables.append(ours[2].copy())
        tables.writeto(tmp_path / "theirs.fits")
    (read,) = read_ldac(tmp_path / "theirs.fits")
    assert read.header["CRVAL2"] == 60.0


@pytest.mark.parametrize("name", ["CCD é", "x" * 300, "tab\there"])
def test_untrusted_names_make_no_broken_card(tmp_path: Path, name: str) -> None:
    write_ldac(tmp_path / "odd.fits", [chip(name)])
    (read,) = read_ldac(tmp_path / "odd.fits")
    assert len(read.header["EXTNAME"]) <= 60


def test_reference_leaves_out_stars_without_magnitude(tmp_path: Path) -> None:
    stars = make_stars(10.0, 5.0, 0.1, 20)
    stars.mags["G"][3] = np.nan
    write_reference(tmp_path / "ref.fits", stars)
    with fits.open(tmp_path / "ref.fits") as hdus:
        rows = hdus["LDAC_OBJECTS"].data
        np.testing.assert_allclose(rows["X_WORLD"], np.delete(stars.ra, 3))
        assert np.isfinite(rows["MAG"]).all()
        assert rows["ERRA_WORLD"][0] == pytest.approx(0.1 / 3600.0)
        assert rows["OBSDATE"][0] == 2016.0


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (None, "no readable FITS_LDAC"),
        ([], "0 tables LDAC_IMHEAD and 0 LDAC_OBJECTS"),
        (["XWIN_IMAGE"], "no column YWIN_IMAGE, ERRAWIN_IMAGE"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, columns: list[str] | None, said: str) -> None:
    path = tmp_path / "other.fits"
    if columns is None:
        path.write_bytes(b"no FITS at all")
    else:
        hdus = fits.HDUList([fits.PrimaryHDU()])
        if columns:
            write_ldac(tmp_path / "ours.fits", [chip("CCD1")])
            with fits.open(tmp_path / "ours.fits") as ours:
                hdus.append(ours[1].copy())
            rows = np.rec.fromarrays([np.arange(3.0)], names=columns)
            hdus.append(fits.BinTableHDU(rows, name="LDAC_OBJECTS"))
        hdus.writeto(path)
    with pytest.raises(NoSolution, match=said):
        read_ldac(path)
