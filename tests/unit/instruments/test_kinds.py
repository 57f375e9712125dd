"""Kinds by rule."""

from __future__ import annotations

from typing import Any

import pytest

from nightflow.instruments.header import FrameKind
from nightflow.instruments.header_time import exposure_time
from nightflow.instruments.kinds import frame_kind
from nightflow.instruments.profile import CameraProfile
from nightflow.instruments.registry import load_profiles
from tests.unit.instruments.profiles import profile, reader

NICKEL: dict[str, Any] = {
    "keywords": {"kind": "OBSTYPE", "object": "OBJECT", "exptime": "EXPTIME"},
    "kinds": {
        "bias": [{"kind": "dark", "exptime": "^0$"}],
        "dark": [{"kind": "dark"}],
        "flat": [{"kind": "object", "object": "flat"}, {"LAMP": "on"}],
        "light": [{"kind": "object"}],
    },
}


def kind_of(cards: dict[str, object], settings: dict[str, Any]) -> FrameKind:
    one = reader(cards, **settings)
    return frame_kind(one, profile(**settings), exposure_time(one))


@pytest.mark.parametrize(
    ("cards", "kind"),
    [
        ({"OBSTYPE": "DARK", "EXPTIME": 0}, FrameKind.BIAS),
        ({"OBSTYPE": "DARK", "EXPTIME": "0.000"}, FrameKind.BIAS),
        ({"OBSTYPE": "DARK", "EXPTIME": 10}, FrameKind.DARK),
        ({"OBSTYPE": "OBJECT", "OBJECT": "Sky Flat", "EXPTIME": 4}, FrameKind.FLAT),
        ({"OBSTYPE": "OBJECT", "OBJECT": "M 67", "LAMP": "ON"}, FrameKind.FLAT),
        ({"OBSTYPE": "OBJECT", "OBJECT": "M 67"}, FrameKind.LIGHT),
        ({"OBSTYPE": "FOCUS"}, FrameKind.UNKNOWN),
        ({}, FrameKind.UNKNOWN),
    ],
)
def test_rules_over_several_quantities(cards: dict[str, object], kind: FrameKind) -> None:
    assert kind_of(cards, NICKEL) is kind


def test_the_empty_rule_takes_everything_that_is_left() -> None:
    settings = {"keywords": {"filter": "FILTER"}, "kinds": {"dark": [{"filter": "opaque"}], "light": [{}]}}
    assert kind_of({}, settings) is FrameKind.LIGHT
    assert kind_of({"FILTER": "Opaque"}, settings) is FrameKind.DARK


@pytest.fixture(scope="module")
def generic() -> CameraProfile:
    return next(one for one in load_profiles() if one.name == "generic")


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("Light Frame", FrameKind.LIGHT),
        ("LIGHT", FrameKind.LIGHT),
        ("object", FrameKind.LIGHT),
        ("EXPOSE", FrameKind.LIGHT),
        ("STANDARD", FrameKind.LIGHT),
        ("Bias Frame", FrameKind.BIAS),
        ("BIAS", FrameKind.BIAS),
        ("zero", FrameKind.BIAS),
        ("Dark Frame", FrameKind.DARK),
        ("DARKFLAT", FrameKind.DARK),
        ("Flat Dark", FrameKind.DARK),
        ("Flat Field", FrameKind.FLAT),
        ("FLAT", FrameKind.FLAT),
        ("domeflat", FrameKind.FLAT),
        ("skyflat", FrameKind.FLAT),
        ("twilight", FrameKind.FLAT),
        ("SKYFLAT", FrameKind.FLAT),
        ("FOCUS", FrameKind.UNKNOWN),
    ],
)
@pytest.mark.parametrize("keyword", ["IMAGETYP", "OBSTYPE"])
def test_dialects_of_the_generic_camera(
    generic: CameraProfile, keyword: str, written: str, kind: FrameKind
) -> None:
    one = reader({keyword: written}, dict(generic.keywords))
    assert frame_kind(one, generic, 1.0) is kind
