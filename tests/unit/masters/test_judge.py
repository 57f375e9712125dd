"""Approved, provisional or rejected, and the reason in words and numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nightflow.detector.master_frame import InputFile, MasterFrame, MasterSet
from nightflow.instruments.header import FrameKind
from nightflow.masters.judge import Doubted, judge
from tests.unit.detector.frames import make_profile
from tests.unit.masters.test_compare import SHAPE, across, bias, flat

PROFILE = make_profile()


def of(master: MasterFrame, count: int = 10, dropped: int = 0, **header: Any) -> MasterFrame:
    files = tuple(
        InputFile(name=f"f{n}", sha256=f"{n}", dropped="cloud" if n < dropped else "") for n in range(count)
    )
    return replace(master, inputs=files, header=replace(master.header, **header))


def dark(seed: int, level: float = 20.0, noise: float = 5.0, **header: Any) -> MasterFrame:
    like = bias(seed, level - 500.0, noise)
    return of(replace(like, header=replace(like.header, kind=FrameKind.DARK, bias_included=False)), **header)


def test_the_first_of_its_kind_is_approved_by_itself() -> None:
    found = judge(of(bias(1)), PROFILE)
    assert (found.state, found.reason) == ("approved", "10 inputs; the first of its kind")


def test_one_that_agrees_with_the_previous_is_approved() -> None:
    found = judge(of(bias(1)), PROFILE, approved=bias(2))
    assert found.state == "approved"
    assert "agrees with master_bias" in found.reason


def test_no_more_inputs_than_needed_are_provisional() -> None:
    found = judge(of(bias(1), 3), PROFILE, approved=bias(2))
    assert (found.state, found.reason) == ("provisional", "3 inputs, no more than needed")


def test_most_inputs_dropped_is_provisional_and_they_are_named() -> None:
    found = judge(of(bias(1), 9, dropped=5), PROFILE)
    assert found.state == "provisional"
    assert found.reason.startswith("only 4 of 9 inputs usable; left out f0: cloud")


@pytest.mark.parametrize(
    ("depth", "state", "words"),
    [
        (-0.005, "approved", "agrees"),
        (-0.02, "provisional", "darker by 2."),
        (-0.06, "rejected", "darker by 6."),
        (0.06, "rejected", "brighter by 6."),
    ],
)
def test_a_thumbprint_on_a_flat(depth: float, state: str, words: str) -> None:
    response = np.ones(SHAPE)
    response[96:136, 176:208] += depth
    found = judge(of(flat(1, response)), PROFILE, approved=flat(2))
    assert found.state == state
    assert words in found.reason


@pytest.mark.parametrize(("leak", "state"), [(3.0, "approved"), (12.0, "provisional"), (60.0, "rejected")])
def test_a_light_leak_on_a_bias(leak: float, state: str) -> None:
    found = judge(of(bias(1, leak * across())), PROFILE, approved=bias(2))
    assert found.state == state
    assert state == "approved" or "smooth change across the chip of" in found.reason


def test_a_first_bias_with_too_much_structure_is_provisional() -> None:
    found = judge(of(bias(1, 500 * across())), PROFILE)
    assert found.state == "provisional"
    assert "a light leak, unless this chip is so" in found.reason


def test_structure_that_other_frames_had_too_is_the_chips_own() -> None:
    found = judge(of(bias(1, 500 * across())), PROFILE, doubted=Doubted(bias(2, 500 * across())))
    assert (found.state, found.reason) == ("approved", "10 inputs; the first of its kind")


@pytest.mark.parametrize(("level", "state"), [(24.0, "approved"), (40.0, "provisional"), (510.0, "rejected")])
def test_the_level_of_a_dark(level: float, state: str) -> None:
    found = judge(dark(1, level), PROFILE, approved=dark(2))
    assert found.state == state
    assert state == "approved" or "level changed by" in found.reason


def test_a_dark_that_holds_its_bias_against_its_header_is_rejected_even_as_the_first() -> None:
    found = judge(dark(1, 510.0), PROFILE, MasterSet(bias=bias(3)))
    assert found.state == "rejected"
    assert "it still holds its bias, whatever its inputs' headers say: level 510 adu" in found.reason
    assert judge(dark(1, 20.0), PROFILE, MasterSet(bias=bias(3))).state == "approved"


def test_a_dark_that_says_so_is_provisional_unless_no_bias_is_taken_off() -> None:
    held = dark(1, 520.0, bias_included=True)
    assert judge(held, PROFILE).state == "provisional"
    assert judge(held, make_profile(calibration={"bias": "off"})).state == "approved"


def test_a_flat_that_is_dead_in_part_is_doubted() -> None:
    response = np.ones(SHAPE)
    response[:, :40] = 0.1
    found = judge(of(flat(1, response)), PROFILE)
    assert found.state == "provisional"
    assert "15.6% of its pixels unusable (limit 10.0%)" in found.reason


def test_a_change_that_lasts_is_believed() -> None:
    response = np.ones(SHAPE)
    response[96:136, 176:208] -= 0.02
    doubted = Doubted(flat(3, response))
    assert judge(of(flat(1, response)), PROFILE, approved=flat(2), doubted=doubted).state == "approved"
    assert (
        judge(of(flat(1, response)), PROFILE, approved=flat(2), doubted=Doubted(flat(4))).state
        == "provisional"
    )


def test_after_a_rejected_one_it_is_provisional_first() -> None:
    response = np.ones(SHAPE)
    response[96:136, 176:208] -= 0.06
    doubted = Doubted(flat(3, response), rejected=True)
    found = judge(of(flat(1, response)), PROFILE, approved=flat(2), doubted=doubted)
    assert found.state == "provisional"
    assert "the change lasts" in found.reason


def test_limits_are_the_profiles() -> None:
    loose = make_profile(vetting={"structure": 20.0})
    assert judge(of(bias(1, 60 * across())), loose, approved=bias(2)).state == "approved"
