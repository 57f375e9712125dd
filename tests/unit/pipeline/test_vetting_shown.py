"""What an astronomer sees of a bad calibration: `masters list` and `explain`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from nightflow.cli import app
from nightflow.pipeline.masters import build_all
from nightflow.pipeline.reducer import Reducer
from tests.unit.pipeline import station as station_module
from tests.unit.pipeline.station import Station
from tests.unit.pipeline.test_vetting import DARKS, SHAPE, leak, light, take, thumbprint


@dataclass(frozen=True)
class Case:
    """What is taken before a light, and what is then said of the master and of the light."""

    take: Callable[[Station, Reducer], None]
    kind: str
    state: str
    reason: str
    explained: str


def thumb(station: Station, reducer: Reducer) -> None:
    take(station, reducer, "bias", hours=-80)
    for hours, change in ((-78, None), (-52, None), (-4, thumbprint(0.08))):
        take(station, reducer, "flat", hours=hours, change=change)
        build_all(reducer)


def light_leak(station: Station, reducer: Reducer) -> None:
    for hours, change in ((-78, None), (-52, None), (-4, leak)):
        take(station, reducer, "bias", hours=hours, change=change)
        build_all(reducer)


def warm_darks(station: Station, reducer: Reducer) -> None:
    take(station, reducer, "bias")
    take(station, reducer, "dark", **{"CCD-TEMP": -10.0})


def darks_with_bias(station: Station, reducer: Reducer) -> None:
    take(station, reducer, "bias")
    take(station, reducer, "dark", CALSTAT="B")


def saturated_flat(station: Station, reducer: Reducer) -> None:
    take(station, reducer, "bias")
    take(station, reducer, "flat", 4, hours=-3)
    take(station, reducer, "flat", 1, hours=-2, change=lambda data: data * 0 + 65535 - np.indices(SHAPE)[0])


def set_of_three(station: Station, reducer: Reducer) -> None:
    take(station, reducer, "bias", 3)


CASES = {
    "a flat with a thumbprint": Case(thumb, "flat", "rejected", "darker by 8", "darker by 8"),
    "a bias with a light leak": Case(
        light_leak, "bias", "rejected", "smooth change across the chip", "smooth change across the chip"
    ),
    "darks at the wrong temperature": Case(
        warm_darks, "dark", "approved", "5 inputs", "ccd_temp -10.0 C, not within 1 of -20.0"
    ),
    "darks that hold their bias": Case(
        darks_with_bias, "dark", "rejected", "it still holds its bias", "it still holds its bias"
    ),
    "a saturated twilight flat": Case(
        saturated_flat, "flat", "approved", "left out flat-2-0.fits: too bright", "left out flat-2-0.fits"
    ),
    "a set of three": Case(
        set_of_three, "bias", "provisional", "3 inputs, no more than needed", "provisional (3 inputs, no more"
    ),
}


@pytest.fixture(autouse=True)
def _camera(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the camera pixels enough to tell structure from noise, and a dark current."""
    plain = station_module.pixels

    def pixels(kind: str, seed: int) -> np.ndarray:
        return plain("bias", seed) + np.uint16(30) if kind == "dark" else plain(kind, seed)

    monkeypatch.setattr(station_module, "SHAPE", SHAPE)
    monkeypatch.setattr(station_module, "pixels", pixels)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_list_and_explain_say_it(station: Station, case: Case) -> None:
    station.set_profile(DARKS)
    reducer = station.reducer(until="calibrate")
    case.take(station, reducer)
    build_all(reducer)
    exposure_id = light(station, reducer, **{"CCD-TEMP": -20.0})

    def command(*words: str) -> str:
        config = ["--config", str(station.root / "nightflow.toml")]
        result = CliRunner().invoke(app, [*words, *config], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    rows: list[dict[str, Any]] = json.loads(
        command("masters", "list", "--kind", case.kind, "--format", "json")
    )
    newest = rows[-1]
    assert newest["state"] == case.state
    assert case.reason in newest["reason"]
    table = command("masters", "list")
    assert newest["fingerprint"][:12] in table
    assert case.reason.split()[0] in table
    if "left out" in case.reason:
        assert f": {case.reason.split(': ')[1]}" in command("explain", "flat-2-0")
    told = " ".join(command("explain", str(exposure_id)).split())
    assert case.explained in told, told
