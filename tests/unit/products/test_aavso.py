"""Reports for the AAVSO, held against the published rules of the format."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from nightflow.errors import ConfigurationError
from nightflow.flags import Flag
from nightflow.lightcurves.light_curve import LightCurve
from nightflow.products.aavso import to_aavso
from tests.unit.products.light_curves import transit

PARAMETERS = ["TYPE", "OBSCODE", "SOFTWARE", "DELIM", "DATE", "OBSTYPE"]
LIMITS = {
    "DATE": 16, "MAG": 8, "MERR": 6, "FILT": 5, "CNAME": 20, "CMAG": 8, "KNAME": 20, "KMAG": 8, "AMASS": 7,
    "CHART": 20,
}  # fmt: skip
FILTERS = {
    "U", "B", "V", "R", "I", "J", "H", "K", "TG", "TB", "TR", "CV", "CR", "SZ", "SU", "SG", "SR", "SI", "ZS",
    "Y", "HA", "O",
}  # fmt: skip


def in_v() -> LightCurve:
    curve = transit()
    return curve.take(curve["filter"] == "V")


def records(report: bytes) -> list[dict[str, str]]:
    """Read a report by the rules: parameters first, no empty line, every field within its limits."""
    lines = report.decode("ascii").splitlines()
    assert all(lines)
    parameters = dict(line[1:].split("=", 1) for line in lines if line.startswith("#") and "=" in line)
    assert list(parameters) == PARAMETERS
    assert parameters["TYPE"] == "EXTENDED"
    assert parameters["DATE"] == "JD"
    assert len(parameters["SOFTWARE"]) <= 255
    (head,) = (line[1:] for line in lines if line.startswith("#NAME"))
    rows = [line.split(parameters["DELIM"]) for line in lines if not line.startswith("#")]
    found = [dict(zip(head.split(","), row, strict=True)) for row in rows]
    for row in found:
        assert 0 < len(row["NAME"]) <= 30
        assert all(len(row[name]) <= limit for name, limit in LIMITS.items())
        assert re.fullmatch(r"\d{7}\.\d+", row["DATE"])
        assert re.fullmatch(r"<?-?\d+\.\d+", row["MAG"])
        assert row["FILT"] in FILTERS
        assert (row["TRANS"], row["MTYPE"]) == ("NO", "STD")
        assert (row["CNAME"], row["CMAG"]) == ("ENSEMBLE", "na")
        assert all(value for value in row.values())
    return found


def test_usable_points_come_back_as_they_were() -> None:
    curve = in_v()
    rows = records(to_aavso(curve, star="HAT-P-32", observer="xyz"))
    kept = np.isfinite(curve["mag"]) & (curve["flags"] == 0)
    assert len(rows) == kept.sum() < len(curve)
    np.testing.assert_allclose([float(row["MAG"]) for row in rows], curve["mag"][kept], atol=5.1e-5)
    times = [float(row["DATE"]) for row in rows]
    np.testing.assert_allclose(times, curve["mjd_mid"][kept] + 2400000.5, rtol=0, atol=1e-6)
    # 5 mmag of the measurement, 12 of the zero point.
    assert {row["MERR"] for row in rows} == {"0.0130"}
    assert all("MERR with the zero point's error" in row["NOTES"] for row in rows)


def test_an_error_without_that_of_the_zero_point_says_so() -> None:
    curve = in_v()
    unknown = np.where(np.arange(len(curve)) == 0, np.nan, 0.012)
    rows = records(
        to_aavso(replace(curve, columns=curve.columns | {"zp_err": unknown}), star="R Cyg", observer="XYZ")
    )
    assert [row["MERR"] for row in rows[:2]] == ["0.0050", "0.0130"]
    assert ["MERR without the zero point's error" in row["NOTES"] for row in rows[:2]] == [True, False]


def test_a_given_code_is_one_of_the_format() -> None:
    assert {row["FILT"] for row in records(to_aavso(in_v(), star="R Cyg", observer="XYZ", code="cv"))} == {
        "CV"
    }
    with pytest.raises(ConfigurationError, match=r"--filter-code 'XX' is no code of the AAVSO.*CV"):
        to_aavso(in_v(), star="R Cyg", observer="XYZ", code="xx")


def test_a_filter_without_a_code_is_not_guessed() -> None:
    with pytest.raises(ConfigurationError, match=r"filter 'Clear' has no code .*--filter-code, such as CV"):
        to_aavso(transit(), star="HAT-P-32", observer="XYZ")
    rows = records(to_aavso(transit(), star="HAT-P-32", observer="XYZ", code="CV"))
    assert {row["FILT"] for row in rows} == {"CV"}


@pytest.mark.parametrize("star", ["SS Cyg, bright", "#TYPE=Visual", "a\nb", "x|y", "R Cyg \x00"])
def test_no_name_breaks_the_format(star: str) -> None:
    plain = records(to_aavso(in_v(), star="R Cyg", observer="XYZ"))
    rows = records(to_aavso(in_v(), star=star, observer="XYZ"))
    assert [row["MAG"] for row in rows] == [row["MAG"] for row in plain]


def test_what_cannot_be_reported_is_said() -> None:
    with pytest.raises(ConfigurationError, match="--observer XYZ"):
        to_aavso(in_v(), star="R Cyg", observer="")
    with pytest.raises(ConfigurationError, match="names of 1 to 30 characters"):
        to_aavso(in_v(), star="x" * 31, observer="XYZ")
    with pytest.raises(ConfigurationError, match=r"--observer XYZ; star .*; filter 'Clear' .*--filter-code"):
        to_aavso(transit(), star="", observer="")
    curve = in_v()
    nothing = replace(curve, columns={**curve.columns, "mag": np.full(len(curve), np.nan)})
    with pytest.raises(ConfigurationError, match="no usable calibrated magnitude"):
        to_aavso(nothing, star="R Cyg", observer="XYZ")


def test_what_the_edge_cut_is_left_out_and_doubts_are_noted() -> None:
    curve = in_v()
    flags = np.zeros(len(curve), int)
    flags[:3] = int(Flag.EDGE)
    flags[5] = int(Flag.AMBIGUOUS | Flag.NEIGHBOUR)
    rows = records(
        to_aavso(LightCurve(columns=curve.columns | {"flags": flags}), star="R Cyg", observer="XYZ")
    )
    seen = np.isfinite(curve["mag"]) & ((flags & int(Flag.EDGE)) == 0)
    assert len(rows) == seen.sum()
    doubtful = [row["NOTES"] for row in rows if "another star" in row["NOTES"]]
    assert doubtful == [
        "zero point of each frame from catalogue stars: Vega (V); MERR with the zero point's error; "
        "light of a neighbour; may be another star"
    ]


def test_an_upper_limit_is_reported_as_fainter_than() -> None:
    curve = in_v()
    limits = np.full(len(curve), np.nan)
    limits[0] = 18.25
    columns = {**curve.columns, "upper_limit": limits, "mag": np.where(np.isfinite(limits), np.nan, 11.3)}
    rows = records(to_aavso(replace(curve, columns=columns), star="R Cyg", observer="XYZ"))
    assert (rows[0]["MAG"], rows[0]["MERR"]) == ("<18.250", "na")
    assert rows[1]["MAG"] == "11.3000"
