"""Where an amplifier's pixels lie, and in which order they were read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nightflow.instruments.amplifiers import Amplifier, chip_shape, overlapping, region_shape, shifted

RAW = np.arange(12).reshape(3, 4)
"""Two columns of data at 1 and 2, rows 0 to 2."""


def amplifier(**changes: Any) -> Amplifier:
    values = {
        "name": "A",
        "data": (slice(0, 3), slice(1, 3)),
        "place": (slice(0, 3), slice(0, 2)),
    } | changes
    return Amplifier(**values)


def test_flips_turn_the_pixels_as_the_chip() -> None:
    assert amplifier().on_chip(RAW).tolist() == [[1, 2], [5, 6], [9, 10]]
    assert amplifier(flip_x=True).on_chip(RAW).tolist() == [[2, 1], [6, 5], [10, 9]]
    assert amplifier(flip_y=True).on_chip(RAW).tolist() == [[9, 10], [5, 6], [1, 2]]


@pytest.mark.parametrize(
    ("flips", "corner", "first"),
    [
        ({}, "lower_left", 1),
        ({}, "lower_right", 2),
        ({}, "upper_right", 10),
        ({"flip_x": True}, "lower_right", 1),  # written as read: its first pixel in the file
        ({"flip_x": True, "flip_y": True}, "upper_right", 1),
        ({"flip_y": True}, "lower_left", 9),
    ],
)
def test_the_pixel_in_the_corner_was_read_first(flips: dict[str, bool], corner: str, first: int) -> None:
    assert amplifier(**flips, corner=corner).as_read(RAW)[0, 0] == first


def test_what_is_written_into_a_view_stands_in_the_plane() -> None:
    raw = RAW.copy()
    amplifier(corner="upper_right").as_read(raw)[0, 0] = -1
    assert raw[2, 2] == -1


def test_places_make_a_chip() -> None:
    right = amplifier(name="B", place=(slice(0, 3), slice(2, 4)))
    assert chip_shape([amplifier(), right]) == (3, 4)
    assert overlapping([amplifier(), right]) is None
    over = amplifier(name="C", place=(slice(2, 5), slice(1, 3)))
    assert overlapping([amplifier(), right, over]) == ("A", "C")


def test_regions() -> None:
    region = (slice(2, 5), slice(10, 30))
    assert region_shape(region) == (3, 20)
    assert shifted(region, 100, -10) == (slice(102, 105), slice(0, 20))
