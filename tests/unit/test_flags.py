"""The bits of a flag plane are a contract with every file and row written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightflow.flags import FLAG_DTYPE, MEANINGS, UNUSABLE, Flag, decode, new_plane


def test_the_bits_are_those_that_were_agreed() -> None:
    assert {flag.name: int(flag) for flag in Flag} == {
        "BAD": 1,
        "HOT": 2,
        "WARM": 4,
        "SATURATED": 8,
        "COSMIC_RAY": 16,
        "DEAD": 32,
        "INTERPOLATED": 64,
        "EDGE": 128,
        "NEIGHBOUR": 256,
        "TRAIL": 512,
        "PERSISTENCE": 1024,
        "AMBIGUOUS": 2048,
    }


def test_each_has_a_meaning_and_fits_the_plane() -> None:
    assert set(MEANINGS) == set(Flag)
    assert sum(Flag) <= np.iinfo(FLAG_DTYPE).max


def test_the_table_of_the_documentation_is_the_one_in_the_code() -> None:
    text = (Path(__file__).parents[2] / "docs/cameras.md").read_text()
    for flag, meaning in MEANINGS.items():
        assert f"| {int(flag)} | {flag.name} | {meaning} | {'yes' if flag & UNUSABLE else ''} |\n" in text


@pytest.mark.parametrize("flag", [Flag.WARM, Flag.INTERPOLATED, Flag.EDGE, Flag.NEIGHBOUR])
def test_what_still_carries_light_is_usable(flag: Flag) -> None:
    assert not flag & UNUSABLE


@given(st.sets(st.sampled_from(list(Flag))))
def test_decoding_gives_back_what_was_set(flags: set[Flag]) -> None:
    names = decode(sum(flags))
    assert {Flag[name.upper()] for name in names} == flags
    assert [int(Flag[name.upper()]) for name in names] == sorted(map(int, flags))


def test_a_new_plane_is_clean() -> None:
    plane = new_plane((3, 5))
    assert (plane.shape, plane.dtype, plane.any()) == ((3, 5), np.dtype(np.uint16), False)
