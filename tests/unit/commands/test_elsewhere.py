"""Frames that come calibrated: by nightflow itself, and by others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from tests.unit.commands.conftest import Observatory

pytestmark = pytest.mark.xdist_group("commands")

PLANES = ("PRIMARY", "UNCERT", "FLAGS")


def products(dome: Observatory) -> list[Path]:
    return sorted(dome.products.glob("*light*.fits"))


def rows(dome: Observatory) -> list[dict[str, object]]:
    lights = json.loads(dome("frames", "--format", "json").stdout)
    return sorted(
        (row for row in lights if row["kind"] == "light"), key=lambda row: Path(str(row["path"])).name
    )


def as_by_iraf(product: Path, path: Path) -> None:
    """Write a product's pixels as IRAF would have left them: counts in a raw header, with its cards."""
    with fits.open(product) as hdus:
        header = hdus[0].header.copy()
        counts = hdus[0].data / np.float32(header["RAWGAIN"])
    header["GAIN"] = header["RAWGAIN"]
    for keyword in ("NFCAMERA", "NFDETECT", "RAWGAIN", "SOFTWARE", "BUNIT", "HISTORY", "COMMENT"):
        header.remove(keyword, remove_all=True, ignore_missing=True)
    for keyword in [
        one for one in header if one.startswith(("NF", "CTYPE", "CRVAL", "CD", "A_", "B_", "AP_", "BP_"))
    ]:
        header.remove(keyword, remove_all=True)
    header["TRIM"] = "Mar  3 14:53 Trim data section is [1:512,1:512]"
    header["ZEROCOR"] = "Mar  3 14:53 Zero level correction image is Zero"
    header["DARKCOR"] = "Mar  3 14:53 Dark count correction image is Dark with scale=1."
    header["FLATCOR"] = "Mar  3 14:54 Flat field image is FlatR with scale=20133."
    fits.PrimaryHDU(counts, header).writeto(path)


def test_a_product_comes_out_as_it_went_in(dome: Observatory, empty: Observatory) -> None:
    first = products(dome)[0]
    result = empty("run", str(first), "--until", "calibrate")
    assert result.exit_code == 0, result.output
    assert "calibrated elsewhere, says nightflow (NFCAMERA): not calibrated again" in result.stderr
    (again,) = products(empty)
    with fits.open(first) as before, fits.open(again) as after:
        for plane in PLANES:
            np.testing.assert_allclose(after[plane].data, before[plane].data, rtol=1e-6, err_msg=plane)
        np.testing.assert_array_equal(after[0].data, before[0].data)
        assert after[0].header["MJD-AVG"] == before[0].header["MJD-AVG"]
        assert after[0].header["NFCAMERA"] == before[0].header["NFCAMERA"]


def test_until_solve_a_mixed_folder_gets_its_wcs_and_nothing_is_calibrated_twice(
    dome: Observatory, empty: Observatory, tmp_path: Path
) -> None:
    """One raw light, one product, one that IRAF has calibrated, and the raw calibration frames."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    raw = sorted(dome.raw.glob("*light*"))
    for file in sorted(dome.raw.glob("*")):
        if file not in raw[1:]:
            shutil.copy(file, folder)
    made = products(dome)
    shutil.copy(made[1], folder / "b-product.fits")
    as_by_iraf(made[2], folder / "c-iraf.fits")
    catalog = dome.raw.parent / "catalog.csv"
    assert empty("catalog", "import", str(catalog), "--name", "field").exit_code == 0
    result = empty("run", str(folder), "--until", "solve")
    assert result.exit_code == 0, result.output
    found = rows(empty)
    assert [Path(str(row["path"])).name for row in found] == [raw[0].name, "b-product.fits", "c-iraf.fits"]
    assert [row["wcs_quality"] for row in found] == ["verified"] * 3
    assert all(row["zp"] is None for row in found)
    again = {"b": made[1], "c": made[2]}
    for name, before in again.items():
        (after,) = empty.products.glob(f"{name}-*.fits")
        np.testing.assert_allclose(fits.getdata(after), fits.getdata(before), rtol=1e-5)
    for row, before in zip(found, rows(dome), strict=True):
        assert row["wcs_rms_arcsec"] == pytest.approx(before["wcs_rms_arcsec"], rel=0.5)
    told = empty("explain", "c-iraf.fits").stdout
    assert "calibrated elsewhere, says IRAF (TRIM, ZEROCOR, DARKCOR, FLATCOR): not calibrated again" in told
    assert "no master" not in told
    with fits.open(next(empty.products.glob("c-*.fits"))) as hdus:
        assert not any(keyword in hdus[0].header for keyword in ("NFBIAS", "NFDARK", "NFFLAT"))
