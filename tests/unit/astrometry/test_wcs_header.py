from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from nightflow.astrometry.wcs_header import remove_wcs, wcs_from_text, wcs_to_text, write_wcs
from tests.unit.astrometry.synthetic import make_wcs, worst_error

STALE = {
    "CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV", "CRVAL1": 1.0, "CRVAL2": 2.0, "CRPIX1": 3.0, "CRPIX2": 4.0,
    "CDELT1": 0.1, "CDELT2": 0.1, "CROTA2": 12.0, "PC1_1": 1.0, "PC001001": 1.0, "CD1_1": 5.0, "CD1_2": 5.0,
    "PV1_0": 0.1, "PV2_10": 0.2, "A_ORDER": 2, "A_2_0": 1e-5, "BP_ORDER": 2, "BP_1_1": 1e-5, "LONPOLE": 170.0,
    "EQUINOX": 2000.0, "RADESYS": "FK5", "WAT1_001": "wtype=tnx",
}  # fmt: skip


@pytest.mark.parametrize("distortion", [0.0, 4.0])
def test_text_keeps_the_wcs(distortion):
    wcs = make_wcs(33.0, 46.0, rotation=70.0, parity=-1, distortion=distortion)
    again = wcs_from_text(wcs_to_text(wcs))
    assert worst_error(again, wcs) < 1e-6
    assert (again.sip is None) == (distortion == 0.0)


def test_text_keeps_tpv():
    header = make_wcs(120.0, 30.0).to_header()
    header["CTYPE1"], header["CTYPE2"] = "RA---TPV", "DEC--TPV"
    header["PV1_1"], header["PV2_1"], header["PV1_7"] = 1.0, 1.0, 3.0
    wcs = WCS(header)
    assert worst_error(wcs_from_text(wcs_to_text(wcs)), wcs) < 1e-6


@pytest.mark.parametrize("distortion", [0.0, 4.0])
def test_stale_cards_are_gone(distortion):
    header = fits.Header({"OBJECT": "M 13", "DATE-OBS": "2026-01-01", "MJD-OBS": 61041.0, **STALE})
    wcs = make_wcs(33.0, 46.0, distortion=distortion)
    write_wcs(header, wcs)
    assert worst_error(WCS(header), wcs) < 1e-6
    assert not any(key.startswith(("PC", "PV", "CDELT", "CROTA", "WAT", "BP")) for key in header)
    assert (header["OBJECT"], header["DATE-OBS"], header["MJD-OBS"]) == ("M 13", "2026-01-01", 61041.0)
    assert header["RADESYS"] == "ICRS"


def test_writing_twice_changes_nothing():
    header = fits.Header()
    wcs = make_wcs(33.0, 46.0, distortion=4.0)
    write_wcs(header, wcs)
    once = header.tostring()
    write_wcs(header, wcs)
    assert header.tostring() == once


def test_survives_a_file(tmp_path):
    wcs = make_wcs(0.001, -89.5, rotation=10.0, distortion=2.0)
    hdu = fits.PrimaryHDU(np.zeros((4, 4), np.float32))
    write_wcs(hdu.header, wcs)
    hdu.writeto(tmp_path / "frame.fits")
    assert worst_error(WCS(fits.getheader(tmp_path / "frame.fits")), wcs) < 1e-6


def test_remove_leaves_the_rest():
    header = fits.Header({"CD1_1": 1.0, "EXPTIME": 60.0, "CCD-TEMP": -20.0, "AIRMASS": 1.2, "B_UNIT": "x"})
    remove_wcs(header)
    assert list(header) == ["EXPTIME", "CCD-TEMP", "AIRMASS", "B_UNIT"]
