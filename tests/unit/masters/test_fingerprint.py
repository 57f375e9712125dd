from typing import Any

import pytest

from nightflow.masters.fingerprint import fingerprint, recipe
from tests.unit.detector.frames import make_profile

INPUTS = ["a" * 64, "b" * 64, "c" * 64]


def of(
    kind: str = "bias",
    inputs: list[str] = INPUTS,
    masters: Any = None,
    method: str = "median",
    **settings: Any,
) -> str:
    return fingerprint(kind, recipe(make_profile(**settings), masters or {}, method), inputs)


def test_it_is_a_sha256_and_repeats() -> None:
    assert of() == of()
    assert len(of()) == 64
    assert set(of()) <= set("0123456789abcdef")


def test_order_of_inputs_does_not_matter() -> None:
    assert of(inputs=INPUTS[::-1]) == of()


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "dark"},
        {"inputs": INPUTS[:2]},
        {"inputs": [*INPUTS[:2], "d" * 64]},
        {"masters": {"bias": "e" * 64}},
        {"method": "clipped_mean"},
        {"calibration": {"overscan": "median"}},
        {"masters_settings": {"clip_sigma": 3.0}},
        {"detector": {"saturation": 50000}},
        {"keywords": {"gain": "GAIN"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_bears_on_the_pixels_changes_it(change: dict[str, Any]) -> None:
    settings = dict(change)
    if "masters_settings" in settings:
        profile = make_profile(masters=settings["masters_settings"])
        assert fingerprint("bias", recipe(profile, {}, "median"), INPUTS) != of()
    else:
        assert of(**settings) != of()


def test_what_does_not_bear_on_the_pixels_leaves_it() -> None:
    assert of(photometry={"minimum_stars": 9}, astrometry={"scale": 1.0}) == of()


@pytest.mark.parametrize(
    "choice",
    [
        {"validity_days": 5},
        {"set_count": 7},
        {"rotator_tolerance": 2.0},
        {"minimum_inputs": 2},
        {"sky_offset": 9},
    ],
    ids=lambda choice: next(iter(choice)),
)
def test_what_only_chooses_masters_leaves_them(choice: dict[str, Any]) -> None:
    assert fingerprint("bias", recipe(make_profile(masters=choice), {}, "median"), INPUTS) == of()
    assert of(vetting={"structure": 9.0}) == of()


def test_what_flags_lights_bears_on_masters_of_lights_alone() -> None:
    def of_lights(**settings: Any) -> str:
        return fingerprint(
            "illumination", recipe(make_profile(**settings), {}, "median", of_lights=True), INPUTS
        )

    assert of_lights(cosmic_rays={"sigclip": 7.0}) != of_lights()
    assert of(cosmic_rays={"sigclip": 7.0}) == of()


def test_where_an_input_is_dropped_bears_on_the_pixels() -> None:
    profile = make_profile(masters={"inputs": {"outlier": 3.0}})
    assert fingerprint("bias", recipe(profile, {}, "median"), INPUTS) != of()


def test_each_chip_of_a_mosaic_has_its_own_masters() -> None:
    """One file holds the readouts of all chips: its hash says nothing of which."""
    profile = make_profile()
    prints = {fingerprint("bias", recipe(profile, {}, "median", chip), INPUTS) for chip in ("1", "2")}
    assert len(prints) == 2
    assert of() in prints
