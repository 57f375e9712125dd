"""ALCDEF against the rules of the format."""

from __future__ import annotations

import re

import numpy as np
import pytest

from nightflow.errors import ConfigurationError
from nightflow.flags import Flag
from nightflow.lightcurves.light_curve import LightCurve
from nightflow.products.alcdef import to_alcdef
from tests.unit.products.light_curves import transit

REQUIRED = {
    "OBJECTNUMBER", "OBJECTNAME", "CONTACTNAME", "CONTACTINFO", "OBSERVERS", "SESSIONDATE", "SESSIONTIME",
    "FILTER", "MAGBAND", "DIFFERMAGS", "LTCAPP", "LTCTYPE", "REDUCEDMAGS", "DELIMITER",
}  # fmt: skip
FILTERS = {"B", "V", "R", "I", "U", "u", "g", "r", "i", "z", "C"}


def two_nights() -> LightCurve:
    curve = transit()
    columns = {name: np.concatenate([values, values]) for name, values in curve.columns.items()}
    columns["mjd_mid"] = np.concatenate([curve["mjd_mid"], curve["mjd_mid"] + 3.0])
    return LightCurve(columns=columns)


def blocks(content: bytes) -> list[tuple[dict[str, str], list[list[str]]]]:
    """Read a file by the standard: blocks of metadata, each followed by its data."""
    found = []
    keys: dict[str, str] = {}
    data: list[list[str]] = []
    state = "out"
    for line in content.decode("ascii").splitlines():
        if line == "STARTMETADATA":
            assert state == "out"
            keys, data, state = {}, [], "metadata"
        elif line == "ENDMETADATA":
            assert state == "metadata"
            state = "data"
        elif line == "ENDDATA":
            assert state == "data"
            found.append((keys, data))
            state = "out"
        elif state == "metadata":
            key, value = line.split("=", 1)
            assert key not in keys
            keys[key] = value
        else:
            assert state == "data"
            assert line.startswith("DATA=")
            data.append(line[5:].split("|"))
    assert state == "out"
    return found


def check(keys: dict[str, str], data: list[list[str]]) -> None:
    assert set(keys) >= REQUIRED
    assert all(re.fullmatch(r"[A-Z0-9]+", key) for key in keys)
    assert re.fullmatch(r"\d+", keys["OBJECTNUMBER"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", keys["SESSIONDATE"])
    assert re.fullmatch(r"\d\d:\d\d:\d\d", keys["SESSIONTIME"])
    assert keys["FILTER"] in FILTERS
    assert (keys["DELIMITER"], keys["DIFFERMAGS"]) == ("PIPE", "FALSE")
    assert keys["LTCAPP"] == keys["LTCTYPE"] == keys["REDUCEDMAGS"] == "NONE"
    times = [float(row[0]) for row in data]
    assert times == sorted(times)
    assert all(2 <= len(row) <= 4 for row in data)


def test_a_block_a_night_and_filter() -> None:
    found = blocks(to_alcdef(two_nights(), name="(5945) Roachapproach", observer="J. Doe", code="G37"))
    assert len(found) == 4
    for keys, data in found:
        check(keys, data)
        assert (keys["OBJECTNUMBER"], keys["OBJECTNAME"]) == ("5945", "Roachapproach")
        assert (keys["MPCCODE"], keys["CONTACTNAME"], keys["MAGBAND"]) == ("G37", "J. Doe", "V")
    # One magnitude is null and one point hit, in each night.
    assert sum(len(data) for _, data in found) == 2 * (40 - 2)
    assert {keys["FILTER"] for keys, _ in found} == {"C", "V"}
    first = found[0][1][0]
    assert float(first[0]) == pytest.approx(2458107.57, abs=0.01)
    # 5 mmag of the measurement, 12 of the zero point.
    assert (float(first[2]), float(first[3])) == (0.013, pytest.approx(1.0, abs=0.05))
    assert all("its error included" in keys["COMMENT"] for keys, _ in found)
    unknown = LightCurve(columns=transit().columns | {"zp_err": np.full(40, np.nan)})
    keys, data = blocks(to_alcdef(unknown, name="5945", observer="J. Doe"))[0]
    assert (data[0][2], "its error not known" in keys["COMMENT"]) == ("0.005", True)


def test_a_provisional_designation_has_its_key() -> None:
    keys, _ = blocks(to_alcdef(transit(), name="2024 AB12", observer="J. Doe"))[0]
    assert (keys["OBJECTNUMBER"], keys["MPCDESIG"]) == ("0", "2024 AB12")


def test_the_name_of_a_designation_keeps_its_year() -> None:
    keys, _ = blocks(to_alcdef(transit(), name="2024 YR4", observer="J. Doe"))[0]
    assert (keys["OBJECTNAME"], keys["MPCDESIG"]) == ("2024 YR4", "2024 YR4")


def test_each_filter_has_the_band_of_its_own_zero_points() -> None:
    curve = transit()
    bands = np.where(curve["filter"] == "V", "V", "r").astype(object)
    curve = LightCurve(columns=curve.columns | {"zp_band": bands})
    found = blocks(to_alcdef(curve, name="5945", observer="J. Doe"))
    assert {(keys["FILTER"], keys["MAGBAND"]) for keys, _ in found} == {("C", "r"), ("V", "V")}
    unknown = LightCurve(columns=curve.columns | {"zp_band": np.full(len(curve), "Ks", object)})
    with pytest.raises(ConfigurationError, match="band 'Ks': the format knows B, G"):
        to_alcdef(unknown, name="5945", observer="J. Doe")


def test_what_the_edge_cut_is_not_reported() -> None:
    curve = transit()
    flags = curve["flags"] | np.where(np.arange(len(curve)) < 10, int(Flag.EDGE), 0)
    cut = LightCurve(columns=curve.columns | {"flags": flags})
    assert sum(len(data) for _, data in blocks(to_alcdef(cut, name="5945", observer="J. Doe"))) == 30


@pytest.mark.parametrize(
    "name", ["'; DROP TABLE x; --", "../../x", "<script>", "ü" * 10_000, "a\x00\n\ud800|=b"]
)
def test_hostile_names_leave_the_file_valid(name: str) -> None:
    for keys, data in blocks(to_alcdef(transit(), name=name, observer=f"{name} x")):
        check(keys, data)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ConfigurationError, match="--observer"):
        to_alcdef(transit(), name="1", observer="\n")
    with pytest.raises(ConfigurationError, match="MPC code"):
        to_alcdef(transit(), name="1", observer="J. Doe", code="nowhere")
    curve = transit()
    elsewhere = LightCurve(columns=curve.columns | {"zp_band": np.full(len(curve), "Ks", object)})
    with pytest.raises(ConfigurationError, match=r"--observer 'J. Doe'; .* --observatory G37; .*band 'Ks'"):
        to_alcdef(elsewhere, name="1", observer="", code="nowhere")
    curve.columns["mag"][:] = np.nan
    with pytest.raises(ConfigurationError, match="no usable"):
        to_alcdef(curve, name="1", observer="J. Doe")
