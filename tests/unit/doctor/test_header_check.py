from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from nightflow.doctor.finding import Finding, Level
from nightflow.doctor.header_check import check_header
from nightflow.instruments.header import FrameKind
from nightflow.instruments.registry import load_profiles

CARDS: dict[str, Any] = {
    "IMAGETYP": "Light Frame", "EXPTIME": 30.0, "DATE-OBS": "2026-03-01T20:00:00", "OBJECT": "M 67",
    "FILTER": "V", "RA": 132.85, "DEC": 11.8, "SITELAT": 40.0, "SITELONG": 10.0, "EGAIN": 1.5, "RDNOISE": 8.0,
    "SATURATE": 60000, "CCD-TEMP": -20.0,
}  # fmt: skip


def frame(tmp_path: Path, **changes: Any) -> Path:
    """Write a frame; a card that is None is left out."""
    header = fits.Header()
    for keyword, value in {**CARDS, **changes}.items():
        if value is not None:
            header[keyword] = value
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(np.zeros((8, 8), np.uint16), header).writeto(path, overwrite=True)
    return path


def found(path: Path) -> dict[str, Finding]:
    return {one.subject: one for one in check_header(path, load_profiles()).findings}


def test_a_full_header_is_understood_and_each_origin_told(tmp_path: Path) -> None:
    report = check_header(frame(tmp_path), load_profiles())
    assert {one.level for one in report.findings} == {Level.OK}
    origins = {one.subject: one.message for one in report.findings}
    assert origins["exptime"] == "EXPTIME = '30.0'"
    assert origins["ra"] == "RA = '132.85'"
    assert origins["gain"] == "EGAIN = '1.5'"
    assert "generic" in origins["camera"]
    assert report.header is not None
    assert report.header.kind is FrameKind.LIGHT
    assert report.header.gain == 1.5


@pytest.mark.parametrize(
    ("keyword", "subject"),
    [("FILTER", "filter"), ("RA", "ra"), ("OBJECT", "object"), ("EGAIN", "gain"), ("SITELAT", "latitude")],
)
def test_a_missing_header_is_named_with_what_follows(tmp_path: Path, keyword: str, subject: str) -> None:
    finding = found(frame(tmp_path, **{keyword: None}))[subject]
    assert finding.level is Level.WARNING
    assert f"{keyword} is absent" in finding.message
    assert "profile" in finding.mend


def test_a_bias_needs_no_filter_and_no_pointing(tmp_path: Path) -> None:
    absent = dict.fromkeys(("FILTER", "RA", "DEC", "OBJECT", "SITELAT", "SITELONG"))
    report = found(frame(tmp_path, IMAGETYP="Bias Frame", EXPTIME=0.0, **absent))
    assert {one.level for one in report.values()} == {Level.OK}


def test_a_flat_needs_its_filter(tmp_path: Path) -> None:
    assert found(frame(tmp_path, IMAGETYP="Flat Field", FILTER=None))["filter"].level is Level.WARNING


def test_a_header_that_no_profile_takes_names_what_is_absent(tmp_path: Path) -> None:
    report = found(frame(tmp_path, EXPTIME=None))
    assert report["camera"].level is Level.FAULT
    assert "exptime (EXPTIME is absent" in report["camera"].message


def test_a_kind_that_no_rule_knows_is_a_fault(tmp_path: Path) -> None:
    report = check_header(frame(tmp_path, IMAGETYP="Tricolor"), load_profiles())
    assert report.header is None
    findings = {one.subject: one for one in report.findings}
    assert "cannot tell bias, dark, flat or light" in findings["header"].message
    assert "IMAGETYP = 'Tricolor'" in findings["header"].message
    assert findings["exptime"].level is Level.OK


def test_a_pointing_that_is_discarded_is_not_called_understood(tmp_path: Path) -> None:
    findings = check_header(frame(tmp_path, RA=654.476), load_profiles()).findings
    assert [one.level for one in findings if one.subject == "ra"] == [Level.WARNING]
    assert any("654.476" in one.message for one in findings if one.subject == "guess")


def test_garbage_is_a_fault_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.fits"
    path.touch()
    finding = found(path)["file"]
    assert finding.level is Level.FAULT
    assert "empty.fits: empty file" in finding.message


@pytest.mark.real
@pytest.mark.parametrize(
    ("folder", "camera"),
    [
        ("hatp32_subset", "microobservatory"),
        ("nickel_2024-05-12", "nickel"),
        ("mit_2018-10-12", "wallace_c14"),
    ],
)
def test_the_real_cameras_are_understood(shared_data: Path, folder: str, camera: str) -> None:
    path = sorted((shared_data / folder).glob("*.gz"))[-1]
    report = check_header(path, load_profiles())
    assert report.findings[0].message.startswith(camera)
    assert Level.FAULT not in {one.level for one in report.findings}
