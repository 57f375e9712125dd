from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.time import Time
from astropy.wcs import WCS

from nightflow.detector.chain import MasterSet, calibrate
from nightflow.flags import Flag
from nightflow.frame import Frame
from nightflow.instruments.header import Site
from nightflow.photcal.jansky import flux_scale
from nightflow.products.reduced_frame import Compression, TargetPlace, clean_header, write_reduced
from tests.unit.detector.frames import Detector, make_frame, make_profile

RAW = {
    "BSCALE": 1.0, "BZERO": 32768.0, "PEDESTAL": -100, "BIASSEC": "[97:128,1:96]", "TRIMSEC": "[1:96,1:96]",
    "GAIN": 4.95, "CHECKSUM": "abc", "NAXIS1": 128, "CTYPE1": "RA---TAN", "CD1_1": "0.0003", "PV1_1": 1.0,
    "A_ORDER": 2, "A_2_0": 1e-7, "CRVAL1A": 5.0, "EQUINOXS": 2000.0,
    "CNAME1C": "x", "DATE-BEG": "2018-01-01", "AIRMASS": 9.9, "MJD-OBS": 1.0, "DATE-OBS": "2018/01/01",
    "OBSERVER": "A. Person", "FOCUS": 1234, "SITELONG": 111.5, "TELALT": 45.0,
}  # fmt: skip


def tangent() -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [31.0, 46.7]
    wcs.wcs.crpix = [64.0, 48.0]
    wcs.wcs.cd = [[-1e-3, 2e-5], [2e-5, 1e-3]]
    return wcs


def reduced(raw: dict[str, Any] | fits.Header = RAW, **changes: Any) -> tuple[Frame, MasterSet]:
    detector = Detector()
    site = Site(latitude=35.1, longitude=-111.5, height=2200.0)
    frame = detector.frame(
        "light", 500, 60, object="M 1", airmass=1.25, site=site, date_obs="2023-02-25T05:59:30", **changes
    )
    masters = MasterSet(**detector.ideal_masters(60))
    data = frame.data.copy()
    data[7, 9] = 65000
    frame = frame.after("hit", data=data, raw_header=fits.Header(raw))
    return calibrate(frame, make_profile(), masters), masters


def written(path: Path, *, wcs: WCS | None = None, **changes: Any) -> tuple[Frame, fits.Header]:
    frame, masters = reduced(**changes)
    frame = frame.after("wcs", wcs=wcs)
    write_reduced(path, frame, masters=masters.fingerprints, software="nightflow 0")
    return frame, fits.getheader(path)


def test_it_reads_back_as_ccddata(tmp_path: Path) -> None:
    frame, _ = written(tmp_path / "a.fits", wcs=tangent())
    ccd = CCDData.read(tmp_path / "a.fits")
    assert ccd.unit == u.electron
    assert frame.variance is not None
    np.testing.assert_array_equal(ccd.data, frame.data)
    np.testing.assert_allclose(ccd.uncertainty.array**2, frame.variance, rtol=1e-5)
    assert np.argwhere(ccd.mask).tolist() == [[7, 9]]
    np.testing.assert_allclose(ccd.wcs.pixel_to_world_values(10, 20), tangent().pixel_to_world_values(10, 20))


@pytest.mark.parametrize("compression", ["lossless", "rice"])
def test_a_packed_one_reads_back_as_ccddata(tmp_path: Path, compression: Compression) -> None:
    frame, masters = reduced()
    frame = frame.after("wcs", wcs=tangent())
    path = tmp_path / "a.fits.fz"
    write_reduced(path, frame, masters=masters.fingerprints, compression=compression)
    ccd = CCDData.read(path, hdu=1)
    assert frame.variance is not None
    assert ccd.unit == u.electron
    assert np.argwhere(ccd.mask).tolist() == [[7, 9]]
    assert "saturation: 1 pixels" in str(ccd.header["HISTORY"])
    np.testing.assert_allclose(ccd.wcs.pixel_to_world_values(10, 20), tangent().pixel_to_world_values(10, 20))
    difference = (ccd.data - frame.data) / np.sqrt(frame.variance)
    assert np.abs(difference).max() < (1e-6 if compression == "lossless" else 0.1)
    np.testing.assert_allclose(
        ccd.uncertainty.array**2, frame.variance, rtol=1e-6 if compression == "lossless" else 0.1
    )
    with fits.open(path) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "SCI", "MASK", "UNCERT", "FLAGS"]
        np.testing.assert_array_equal(hdus["FLAGS"].data, frame.flags)


def test_the_target_is_named_with_who_says_so(tmp_path: Path) -> None:
    frame, _ = reduced()
    place = TargetPlace(ra=31.0427, dec=46.6878, origin="target list, at this time")
    write_reduced(tmp_path / "a.fits", frame, target=place)
    header = fits.getheader(tmp_path / "a.fits")
    assert (header["RA-OBJ"], header["DEC-OBJ"]) == (31.0427, 46.6878)
    assert header.comments["RA-OBJ"] == "[deg] ICRS, target list, at this time"


def test_flags_hold_the_bits_and_their_names(tmp_path: Path) -> None:
    frame, _ = written(tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits") as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "MASK", "UNCERT", "FLAGS"]
        np.testing.assert_array_equal(hdus["FLAGS"].data, frame.flags)
        assert hdus["FLAGS"].data[7, 9] == Flag.SATURATED
        bits = {
            hdus["FLAGS"].header.comments[key]: value for key, value in hdus["FLAGS"].header["FLAG*"].items()
        }
        assert bits == {flag.name.lower(): flag.value for flag in Flag}
        assert hdus[0].data.dtype == np.dtype(">f4")


@pytest.mark.parametrize("wcs", [None, tangent()], ids=["unsolved", "solved"])
def test_stale_cards_are_gone_and_others_stay(tmp_path: Path, wcs: WCS | None) -> None:
    _, header = written(tmp_path / "a.fits", wcs=wcs)
    for keyword in (
        "BSCALE",
        "BZERO",
        "PEDESTAL",
        "BIASSEC",
        "TRIMSEC",
        "PV1_1",
        "A_ORDER",
        "A_2_0",
        "CRVAL1A",
        "EQUINOXS",
        "CNAME1C",
        "DATE-BEG",
    ):
        assert keyword not in header
    assert ("CTYPE1" in header) == (wcs is not None)
    assert (header["OBSERVER"], header["FOCUS"]) == ("A. Person", 1234)
    assert header["NAXIS1"] == 128


def test_what_is_known_is_written(tmp_path: Path) -> None:
    frame, header = written(tmp_path / "a.fits")
    assert header["BUNIT"] == "electron"
    assert (header["GAIN"], header["RAWGAIN"]) == (1.0, 2.0)
    assert (header["SITELONG"], header["SITELAT"], header["SITEELEV"]) == (-111.5, 35.1, 2200.0)
    assert (header["AIRMASS"], header["OBJECT"], header["FILTER"]) == (1.25, "M 1", "V")
    assert header["MJD-AVG"] == frame.header.mjd_mid
    assert header["DATE-OBS"] == "2023-02-25T05:59:30"
    assert Time(header["DATE-AVG"], scale="utc").mjd == pytest.approx(60000.25, abs=1e-7)
    assert header["MJD-OBS"] == pytest.approx(60000.25 - 30 / 86400, abs=1e-9)
    assert header["SOFTWARE"] == "nightflow 0"


def test_history_and_masters_are_named(tmp_path: Path) -> None:
    frame, header = written(tmp_path / "a.fits")
    for kind in ("bias", "dark", "flat"):
        assert header[f"NF{kind.upper()}"] == f"{kind:0<64}"
    text = "".join(line.ljust(72) if len(line) == 72 else line for line in header["HISTORY"])
    for line in frame.history:
        assert line in text
    assert header["DATASUM"]


def test_an_unknown_time_and_site_leave_no_card(tmp_path: Path) -> None:
    frame, _ = reduced()
    bare = make_frame(frame.data, unit="electron", mjd_mid=None).after(
        "bare", variance=frame.variance, flags=frame.flags, raw_header=fits.Header(RAW)
    )
    write_reduced(tmp_path / "a.fits", bare)
    header = fits.getheader(tmp_path / "a.fits")
    for keyword in ("MJD-OBS", "MJD-AVG", "DATE-OBS", "SITELONG", "AIRMASS", "OBJECT"):
        assert keyword not in header


def test_hostile_text_becomes_text(tmp_path: Path) -> None:
    frame, _ = reduced()
    hostile = make_frame(
        frame.data, unit="electron", object="../../x\n\x00é", warnings=("no gain: ü",)
    ).after("odd \u2192 step", variance=frame.variance, flags=frame.flags)
    write_reduced(tmp_path / "a.fits", hostile)
    header = fits.getheader(tmp_path / "a.fits")
    assert header["OBJECT"] == "../../x???"
    assert "odd ? step" in str(header["HISTORY"])
    assert "no gain: ?" in str(header["COMMENT"])
    assert [file.name for file in tmp_path.iterdir()] == ["a.fits"]


def test_cards_that_nobody_can_read_are_left_out_and_named() -> None:
    cards = [
        "GOOD    =                    1",
        "ODD     = 'no end",
        "NUMBER  = 1.2.3.4",
        "LONG    = 'x' / " + "y" * 70,
    ]
    raw = fits.Header.fromstring("".join(card[:80].ljust(80) for card in cards))
    header, unreadable = clean_header(raw)
    assert header["GOOD"] == 1
    assert header["LONG"] == "x"
    assert unreadable == ["ODD", "NUMBER"]


def test_a_long_value_with_a_long_comment_is_kept(tmp_path: Path) -> None:
    raw = fits.Header([("NOTE", "n" * 60, "c" * 40), ("LONGER", "m" * 150, "a comment")])
    _, header = written(tmp_path / "a.fits", raw=raw)
    assert header["NOTE"] == "n" * 60
    assert header["LONGER"] == "m" * 150


def test_an_uncalibrated_frame_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs a calibrated frame"):
        write_reduced(tmp_path / "a.fits", make_frame(np.ones((4, 4))))
    assert not list(tmp_path.iterdir())


def test_microjansky_say_what_they_are_and_rest_on(tmp_path: Path) -> None:
    frame, _ = reduced(raw={**RAW, "PHOTZP": 1.0})
    scale = flux_scale(22.0, 0.02, 60.0, system="Vega", band="V")
    write_reduced(tmp_path / "a.fits", frame, scale=scale)
    write_reduced(tmp_path / "b.fits", frame)
    ccd, header = CCDData.read(tmp_path / "a.fits"), fits.getheader(tmp_path / "a.fits")
    assert ccd.unit == u.uJy
    np.testing.assert_allclose(ccd.data * header["GAIN"], frame.data, rtol=1e-5)
    np.testing.assert_allclose(ccd.uncertainty.array * header["GAIN"], np.sqrt(frame.variance), rtol=1e-5)
    assert (header["PHOTZP"], header["PHOTBAND"], header["PHOTSYS"], header["PHOTAB"]) == (
        23.9,
        "V",
        "Vega",
        0.02,
    )
    assert header["PHOTERR"] == pytest.approx(0.0184, rel=0.01)
    assert "PHOTZP" not in fits.getheader(tmp_path / "b.fits")
