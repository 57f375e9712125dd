"""Reports against the rules of their formats, and read back."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.time import Time

from nightflow.errors import ConfigurationError
from nightflow.products.astrometry_report import (
    Observatory,
    ObservedPosition,
    to_ades_psv,
    to_ades_xml,
    to_mpc80,
)

HERE = Observatory(code="G37", observer="J. Doe", telescope="0.5-m f/8 reflector + CCD", submitter="A. Smith")
HOSTILE = ["'; DROP TABLE x; --", "../../x", "<script>alert(1)</script>", "ü" * 10_000, "a\x00b\n\ud800|c=d"]
ORDER = (
    "permID", "provID", "trkSub", "mode", "stn", "obsTime", "ra", "dec", "rmsRA", "rmsDec", "astCat", "mag",
    "rmsMag", "band", "photCat", "exp",
)  # fmt: skip


def position(**changes: object) -> ObservedPosition:
    values: dict[str, object] = {
        "mjd_mid": 58568.20432719914,
        "ra": 124.62451,
        "dec": 25.328864,
        "ra_err": 0.11,
        "dec_err": 0.12,
        "mag": 17.123,
        "mag_err": 0.034,
        "band": "V",
        "exptime": 300.0,
        "astrometric_catalog": "gaia_dr3",
        "photometric_catalog": "tycho2",
    }
    return ObservedPosition(**(values | changes))  # type: ignore[arg-type]


def read_psv(content: bytes) -> tuple[dict[str, list[str]], list[dict[str, str]]]:
    """Read a file by the standard: header groups, one line of names, records."""
    lines = content.decode("ascii").splitlines()
    assert lines[0] == "# version=2022"
    groups: dict[str, list[str]] = {}
    names: list[str] = []
    records = []
    for line in lines[1:]:
        if line.startswith("# "):
            groups[line[2:]] = []
        elif line.startswith("! "):
            groups[list(groups)[-1]].append(line[2:])
        elif not names:
            names = line.split("|")
        else:
            assert line.count("|") == len(names) - 1
            records.append(dict(zip(names, line.split("|"), strict=True)))
    return groups, records


def check_optical(record: dict[str, str]) -> None:
    """Check an observation by the rules of the standard."""
    known = {key: value for key, value in record.items() if value}
    assert list(known) == [name for name in ORDER if name in known]
    assert sum(name in known for name in ("permID", "provID", "trkSub")) == 1
    assert re.fullmatch(r"[A-Za-z0-9]{1,8}", known.get("trkSub", "x"))
    assert {"mode", "stn", "obsTime", "ra", "dec", "astCat"} <= set(known)
    assert known["mode"] in ("CCD", "CMO")
    assert re.fullmatch(r"[A-Z0-9]{3}", known["stn"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:[0-5]\d(\.\d{1,6})?Z", known["obsTime"])
    assert 0 <= float(known["ra"]) < 360
    assert -90 <= float(known["dec"]) <= 90
    assert ("mag" in known) == ("band" in known)
    assert "mag" not in known or len(known["band"]) == 1
    for name in ("rmsRA", "rmsDec", "rmsMag"):
        assert name not in known or float(known[name]) > 0


def test_psv_follows_the_standard_and_holds_what_was_measured() -> None:
    groups, records = read_psv(to_ades_psv([("5945", [position(), position(mag=None)])], HERE))
    assert groups["observatory"] == ["mpcCode G37"]
    assert groups["submitter"] == ["name A. Smith"]
    assert groups["observers"] == groups["measurers"] == ["name J. Doe"]
    assert groups["telescope"] == ["design Reflector", "aperture 0.5", "detector CCD"]
    for record in records:
        check_optical(record)
    first, second = records
    assert first["permID"] == "5945"
    assert float(first["ra"]) == pytest.approx(124.62451, abs=1e-7)
    assert (first["rmsRA"], first["rmsDec"], first["mag"], first["rmsMag"]) == (
        "0.110",
        "0.120",
        "17.12",
        "0.03",
    )
    assert (first["astCat"], first["photCat"], first["band"], first["exp"]) == ("Gaia3", "Tyc2", "V", "300.0")
    assert abs(Time(first["obsTime"].rstrip("Z")).mjd - 58568.20432719914) * 86400 < 0.006
    assert second["mag"] == second["band"] == ""


def test_xml_says_the_same() -> None:
    bodies = [("2024 AB12", [position()]), ("N20260301-1", [position(band="BP")])]
    root = ElementTree.fromstring(to_ades_xml(bodies, HERE))
    assert (root.tag, root.attrib) == ("ades", {"version": "2022"})
    assert [one.tag for one in root[0]] == ["obsContext", "obsData"]
    optical = [{field.tag: field.text or "" for field in one} for one in root[0][1]]
    for record in optical:
        check_optical(record)
    assert optical[0]["provID"] == "2024 AB12"
    assert "mag" not in optical[1]
    _, records = read_psv(to_ades_psv(bodies, HERE))
    assert optical[0] == {key: value for key, value in records[0].items() if value}


def test_eighty_columns_read_back() -> None:
    rng = np.random.default_rng(1)
    positions = [
        position(
            mjd_mid=58000 + 2000 * one, ra=360 * other, dec=180 * third - 90, mag=None if one < 0.3 else 17.1
        )
        for one, other, third in rng.random((200, 3))
    ]
    # Places and times that rounding could carry over.
    positions += [
        position(ra=359.9999999, dec=-0.0000001),
        position(ra=14.9999999, dec=29.9999999),
        position(mjd_mid=58568.999999),
    ]
    lines = to_mpc80([("5945", positions)], HERE).decode("ascii").splitlines()
    assert lines[:5] == ["COD G37", "OBS J. Doe", "MEA J. Doe", "TEL 0.5-m f/8 reflector + CCD", "NET Gaia3"]
    records = lines[5:]
    assert len(records) == len(positions)
    for line, given in zip(records, positions, strict=True):
        assert len(line) == 80
        assert line[:15] == "05945         C"
        assert (line[31], line[43], line[55:65], line[71:77]) == (" ", " ", " " * 10, " " * 6)
        assert line[77:] == "G37"
        year, month, day = line[15:31].split(" ")
        mjd = Time(f"{year}-{month}-{day[:2]}").mjd + float(day[2:])
        assert abs(mjd - given.mjd_mid) < 0.6e-5
        assert float(line[38:43]) < 60
        assert float(line[51:55]) < 60
        place = SkyCoord(line[32:43], line[44:55], unit=(u.hourangle, u.deg))
        assert place.separation(SkyCoord(given.ra, given.dec, unit="deg")).arcsec < 0.12
        assert line[65:71] == ("      " if given.mag is None else f"{given.mag:5.2f}V")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_leave_the_files_valid(name: str) -> None:
    somebody = replace(HERE, observer=f"{name} x", telescope=f"0.5 m {name}", submitter=name)
    bodies = [(name, [position()])]
    _, (record,) = read_psv(to_ades_psv(bodies, somebody))
    check_optical(record)
    root = ElementTree.fromstring(to_ades_xml(bodies, somebody))
    assert root.find("obsBlock/obsData/optical/trkSub") is not None
    *head, line = to_mpc80(bodies, somebody).decode("ascii").splitlines()
    assert len(line) == 80
    assert all(re.fullmatch(r"[ -~]{1,80}", one) for one in head)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"observer": " "}, "--observer"),
        ({"code": "G3"}, "--observatory"),
        ({"code": "G\n7"}, "--observatory"),
        ({"telescope": "a large one"}, "--telescope"),
        (
            {"observer": "", "telescope": "", "code": "-"},
            r"--observatory G37; .* --observer 'J. Doe'; .* --telescope '0.5-m",
        ),
    ],
)
def test_what_is_missing_is_named(changes: dict[str, str], words: str) -> None:
    for write in (to_ades_psv, to_ades_xml, to_mpc80):
        with pytest.raises(ConfigurationError, match=words):
            write([("5945", [position()])], replace(HERE, **changes))


@pytest.mark.parametrize(
    ("telescope", "aperture", "design", "detector"),
    [
        ("0.36-m f/7 Schmidt-Cassegrain + CMOS", "0.36", "Schmidt-Cassegrain", "CMO"),
        ("28 cm refractor", "0.28", "Refractor", "CCD"),
        ("1 m", "1", "Reflector", "CCD"),
    ],
)
def test_the_telescope_is_read_from_its_text(
    telescope: str, aperture: str, design: str, detector: str
) -> None:
    groups, _ = read_psv(to_ades_psv([("1", [position()])], replace(HERE, telescope=telescope)))
    assert groups["telescope"] == [f"design {design}", f"aperture {aperture}", f"detector {detector}"]
