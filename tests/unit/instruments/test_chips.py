"""From HDUs to chips: amplifiers as the headers say it, as a profile says it, and what does not fit."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nightflow.detector.amplifiers import assemble_plane
from nightflow.errors import FrameHeld
from nightflow.instruments.chips import join_chips, stack_pixels
from nightflow.instruments.header import FrameHeader
from nightflow.instruments.normalise import normalise
from nightflow.instruments.profile import CameraProfile
from tests.unit.instruments.profiles import profile

KEYWORDS: dict[str, Any] = {
    "kind": "KIND",
    "exptime": "EXPTIME",
    "detector": "CCDNAME",
    "amplifier": "AMPNAME",
    "trim": "DATASEC",
    "overscan": "BIASSEC",
    "chip_section": ["CCDSEC", "DETSEC"],
    "readout_x": "ATM1_1",
    "readout_y": "ATM2_2",
    "gain": "GAIN",
    "read_noise": "RDNOISE",
    "saturation": "SATURATE",
    "pedestal": "PEDESTAL",
    "binning": "CCDSUM",
}
COMMON = {"KIND": "bias", "EXPTIME": 0.0, "CCDNAME": "S1", "GAIN": 2.0, "RDNOISE": 5.0, "SATURATE": 6e4}


def camera(amplifiers: Any = "header", **detector: Any) -> CameraProfile:
    return profile(
        keywords=KEYWORDS,
        kinds={"bias": [{"kind": "bias"}], "flat": [{"kind": "flat"}]},
        detector={"amplifiers": amplifiers, **detector},
    )


def readout(hdu: int, shape: tuple[int, int], used: CameraProfile, **cards: Any) -> FrameHeader:
    return normalise(fits.Header(COMMON | cards), used, hdu=hdu, shape=shape)


def halves(used: CameraProfile, *, places: tuple[str, str] = ("[1:6,1:10]", "[12:7,1:10]"), **cards: Any):
    """Return two HDUs of 6 columns and 2 of overscan, 10 rows; the second is read backwards."""
    own = {"DATASEC": "[1:6,1:10]", "BIASSEC": "[7:8,1:10]", **cards}
    return [
        readout(number, (10, 8), used, AMPNAME=name, CCDSEC=place, **own)
        for number, name, place in zip((1, 2), "LR", places, strict=True)
    ]


def test_two_hdus_become_one_chip() -> None:
    used = camera()
    (chip,) = join_chips(halves(used), used)
    left, right = chip.amplifiers
    assert (chip.detector, chip.hdu, chip.hdus, chip.shape) == ("S1", 1, (1, 2), (20, 8))
    assert (chip.overscan, chip.trim, chip.has_overscan) == (None, None, True)
    assert (left.data, left.place) == ((slice(0, 10), slice(0, 6)), (slice(0, 10), slice(0, 6)))
    assert (right.data, right.place) == ((slice(10, 20), slice(0, 6)), (slice(0, 10), slice(6, 12)))
    assert right.overscan == (slice(10, 20), slice(6, 8))
    assert (left.flip_x, right.flip_x, right.flip_y) == (False, True, False)
    assert (left.corner, right.corner) == ("lower_left", "lower_right")


def test_the_chip_has_the_mean_gain_and_the_lowest_saturation() -> None:
    used = camera()
    one, other = halves(used)
    other = readout(
        2, (10, 8), used, AMPNAME="R", DATASEC="[1:6,1:10]", CCDSEC="[7:12,1:10]", GAIN=3.0, RDNOISE=7.0,
        SATURATE=5e4, PEDESTAL=100,
    )  # fmt: skip
    (chip,) = join_chips([one, other], used)
    assert (chip.gain, chip.header_gain, chip.header_read_noise) == (2.5, 2.5, 6.0)
    assert chip.read_noise == pytest.approx(37**0.5)
    assert chip.saturation == 5e4
    assert [(a.gain, a.read_noise, a.saturation, a.pedestal) for a in chip.amplifiers] == [
        (2.0, 5.0, 6e4, 0.0),
        (3.0, 7.0, 5e4, 100.0),
    ]
    assert chip.pedestal == 0
    assert not chip.has_overscan


def test_a_place_in_the_mosaic_is_one_on_its_chip() -> None:
    used = camera()
    (chip,) = join_chips(halves(used, places=("[2049:2054,4097:4106]", "[2060:2055,4097:4106]")), used)
    assert [one.place[1] for one in chip.amplifiers] == [slice(0, 6), slice(6, 12)]
    assert [one.place[0] for one in chip.amplifiers] == [slice(0, 10)] * 2


def test_sections_of_unbinned_pixels_are_binned() -> None:
    used = camera()
    (chip,) = join_chips(halves(used, places=("[1:12,1:20]", "[24:13,1:20]"), CCDSUM="2 2"), used)
    assert [one.place for one in chip.amplifiers] == [
        (slice(0, 10), slice(0, 6)),
        (slice(0, 10), slice(6, 12)),
    ]


def test_the_readout_corner_can_differ_from_the_order_in_the_file() -> None:
    """An HDU that was turned to the chip's orientation was still read from the right."""
    used = camera()
    one, _ = halves(used)
    other = readout(
        2, (10, 8), used, AMPNAME="R", DATASEC="[3:8,1:10]", CCDSEC="[7:12,1:10]", ATM1_1=-1.0, ATM2_2=1.0
    )
    (chip,) = join_chips([one, other], used)
    assert (chip.amplifiers[1].flip_x, chip.amplifiers[1].corner) == (False, "lower_right")


def test_chips_are_told_apart_by_name_or_by_number() -> None:
    used = camera()
    first, second = halves(used), halves(used, CCDNAME="S2")
    assert [chip.detector for chip in join_chips([*first, *second], used)] == ["S1", "S2"]
    nameless = camera(hdus_per_chip=2)
    four = [*halves(nameless, CCDNAME=""), *halves(nameless, CCDNAME="")]
    assert [len(chip.amplifiers) for chip in join_chips(four, nameless)] == [2, 2]
    with pytest.raises(FrameHeld, match="3 HDUs with pixels are no whole number of chips of 2 HDUs each"):
        join_chips(four[:3], nameless)


def test_a_chip_of_one_amplifier_that_reads_forwards_is_left_as_it_was() -> None:
    used = camera()
    one = halves(used)[0]
    (chip,) = join_chips([one], used)
    assert chip.amplifiers == ()
    assert (chip.trim, chip.overscan, chip.gain) == (one.trim, one.overscan, one.gain)
    (backwards,) = join_chips([halves(used)[1]], used)
    assert backwards.amplifiers[0].flip_x


def test_without_amplifiers_every_hdu_is_a_chip() -> None:
    used = camera(amplifiers=[])
    headers = halves(used)
    assert join_chips(headers, used) == tuple(headers)


@pytest.mark.parametrize(
    ("places", "cards", "words"),
    [
        (("[1:6,1:10]", "[11:6,1:10]"), {}, "the places of the amplifiers 'L' and 'R' overlap"),
        (("[1:6,1:10]", "[7:13,1:10]"), {}, "its data are 6 x 10 pixels, their place on the chip 7 x 10"),
        (("[1:6,1:10]", "[900000006:900000001,1:10]"), {}, "read 120 pixels of the 9000000060 that"),
        (("[1:6,1:10]", ""), {}, "HDU 2 of the chip 'S1' does not say where its pixels belong"),
    ],
)
def test_sections_that_make_no_chip_hold_the_frame(
    places: tuple[str, str], cards: dict[str, Any], words: str
) -> None:
    used = camera()
    with pytest.raises(FrameHeld, match=words.replace("(", r"\(")):
        join_chips(halves(used, places=places, **cards), used)


def test_hdus_of_different_kinds_are_no_chip() -> None:
    used = camera()
    with pytest.raises(FrameHeld, match="call themselves bias and flat"):
        join_chips([halves(used)[0], halves(used, KIND="flat", EXPTIME=1.0)[1]], used)


def test_a_crosstalk_matrix_of_another_chip_holds_the_frame() -> None:
    used = camera(crosstalk={"all": np.zeros((3, 3)).tolist()})
    with pytest.raises(FrameHeld, match=r"has 3 rows, but the chip 'S1' has 2 amplifiers \(L, R\)"):
        join_chips(halves(used), used)


TABLES = [
    {"name": "L", "data": "[1:6,1:10]", "overscan": "[13:14,1:10]", "chip": "[1:6,1:10]", "gain": 1.5},
    {"name": "R", "data": "[7:12,1:10]", "overscan": "[15:16,1:10]", "chip": "[7:12,1:10]",
     "corner": "lower_right", "read_noise": 0.0, "saturation": 5e4},
]  # fmt: skip


def test_tables_describe_amplifiers_of_one_hdu() -> None:
    used = camera(amplifiers=TABLES)
    (chip,) = join_chips([readout(0, (10, 16), used)], used)
    left, right = chip.amplifiers
    assert (chip.shape, chip.hdus) == ((10, 16), (0,))
    assert (left.gain, left.read_noise, left.saturation, left.corner) == (1.5, 5.0, 6e4, "lower_left")
    assert (right.gain, right.read_noise, right.saturation, right.corner) == (2.0, 0.0, 5e4, "lower_right")
    assert right.overscan == (slice(0, 10), slice(14, 16))


def test_what_the_tables_give_is_known_and_not_missed() -> None:
    tables = [TABLES[0] | {"read_noise": 4.0, "saturation": 6e4}, TABLES[1] | {"gain": 1.6}]
    silent = {"GAIN": "", "RDNOISE": "", "SATURATE": "", "BITPIX": -32}
    used = camera(amplifiers=tables)
    (chip,) = join_chips([readout(0, (10, 16), used, **silent)], used)
    assert (chip.gain_known, chip.read_noise_known) == (True, True)
    assert not [warning for warning in chip.warnings if "unknown" in warning]
    used = camera(amplifiers=TABLES)
    (chip,) = join_chips([readout(0, (10, 16), used, **silent)], used)
    assert (chip.gain_known, chip.read_noise_known) == (False, False)
    assert len([warning for warning in chip.warnings if "unknown" in warning]) == 3


def test_hdus_are_stacked_in_the_order_of_the_file() -> None:
    """Whatever the order in which the profile names them."""
    used = camera()
    left, right = halves(used)
    (chip,) = join_chips([right, left], used)
    (same,) = join_chips([left, right], used)
    assert chip.hdu == 1
    assert sorted(chip.amplifiers, key=lambda one: one.hdu) == list(same.amplifiers)


def test_an_hdu_that_no_table_uses_is_not_read() -> None:
    tables = [
        {"name": "A", "detector": "S1", "data": "[1:6,1:10]", "chip": "[6:1,1:10]", "hdu": 2},
        {"name": "B", "detector": "S2", "data": "[1:6,1:10]", "chip": "[1:6,1:10]", "hdu": 1},
    ]
    used = camera(amplifiers=tables)
    (chip,) = join_chips([readout(hdu, (10, 6), used) for hdu in (1, 2)], used)
    assert (chip.hdu, chip.hdus, chip.shape) == (2, (2,), (10, 6))
    assert chip.amplifiers[0].data == (slice(0, 10), slice(0, 6))


def test_a_table_holds_for_its_chip_alone() -> None:
    tables = [
        {"name": name, "detector": chip, "hdu": hdu, "data": "[1:6,1:10]", "chip": place}
        for chip in ("S1", "S2")
        for hdu, name, place in ((1, "L", "[1:6,1:10]"), (2, "R", "[7:12,1:10]"))
    ]
    gains = {"S1": 1.1, "S2": 1.9}
    used = camera(amplifiers=[table | {"gain": gains[table["detector"]]} for table in tables])
    headers = [
        readout(hdu, (10, 6), used, CCDNAME=name)
        for hdu, name in enumerate(("S1", "S1", "S2", "S2"), start=1)
    ]
    chips = join_chips(headers, used)
    assert [(chip.detector, chip.hdus, chip.gain) for chip in chips] == [
        ("S1", (1, 2), 1.1),
        ("S2", (3, 4), 1.9),
    ]
    with pytest.raises(FrameHeld, match=r"detector.amplifiers has none for the chip 'S3'"):
        join_chips([readout(hdu, (10, 6), used, CCDNAME="S3") for hdu in (1, 2)], used)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": "[1:6,1:11]"}, "does not fit HDU 0 of 16 x 10 pixels"),
        ({"chip": "[1:7,1:10]"}, "differ in size"),
    ],
)
def test_tables_that_do_not_fit_hold_the_frame(change: dict[str, str], words: str) -> None:
    used = camera(amplifiers=[TABLES[0] | change, TABLES[1]])
    with pytest.raises(FrameHeld, match=words):
        join_chips([readout(0, (10, 16), used)], used)


def test_hdus_are_stacked_and_narrow_ones_filled_up() -> None:
    stack = stack_pixels([np.full((2, 3), 7, np.float32), np.full((1, 2), 5, np.float32)])
    assert stack.tolist() == [[7, 7, 7], [7, 7, 7], [5, 5, 0]]
    alone = np.ones((2, 2), np.float32)
    assert stack_pixels([alone]) is alone


@st.composite
def layouts(draw: st.DrawFn) -> tuple[list[int], list[int], list[tuple[bool, bool, int, str]]]:
    """Return borders of rows and columns, and for each part: flips, width and side of its overscan."""
    rows = draw(st.lists(st.integers(2, 6), min_size=1, max_size=3))
    columns = draw(st.lists(st.integers(2, 6), min_size=1, max_size=3))
    part = st.tuples(
        st.booleans(), st.booleans(), st.integers(0, 3), st.sampled_from(["left", "right", "top", "bottom"])
    )
    count = len(rows) * len(columns)
    return rows, columns, draw(st.lists(part, min_size=count, max_size=count))


def split(
    image: NDArray[np.float32], rows: list[int], columns: list[int], parts: list[tuple[bool, bool, int, str]]
) -> tuple[list[NDArray[np.float32]], list[dict[str, Any]]]:
    """Cut an image up as the amplifiers of a layout would write it: planes and the cards of their headers."""
    planes, cards = [], []
    edges_y, edges_x = np.cumsum([0, *rows]), np.cumsum([0, *columns])
    cells = itertools.product(itertools.pairwise(edges_y), itertools.pairwise(edges_x))
    for ((y1, y2), (x1, x2)), (flip_x, flip_y, width, side) in zip(cells, parts, strict=True):
        plane = image[y1:y2, x1:x2][:: -1 if flip_y else 1, :: -1 if flip_x else 1]
        ny, nx = plane.shape
        before = {"left": (0, width), "bottom": (width, 0)}.get(side, (0, 0))
        after = {"right": (0, width), "top": (width, 0)}.get(side, (0, 0))
        plane = np.pad(plane, tuple(zip(before, after, strict=True)), constant_values=-1)
        across = f"{x2}:{x1 + 1}" if flip_x else f"{x1 + 1}:{x2}"
        along = f"{y2}:{y1 + 1}" if flip_y else f"{y1 + 1}:{y2}"
        data = f"[{before[1] + 1}:{before[1] + nx},{before[0] + 1}:{before[0] + ny}]"
        planes.append(plane.astype(np.float32))
        cards.append({"CCDSEC": f"[{across},{along}]", "DATASEC": data})
    return planes, cards


@settings(max_examples=200)
@given(layout=layouts())
def test_what_was_split_is_put_together_again(layout: Any) -> None:
    rows, columns, parts = layout
    image = np.arange(1, sum(rows) * sum(columns) + 1, dtype=np.float32).reshape(sum(rows), sum(columns))
    planes, cards = split(image, rows, columns, parts)
    used = camera()
    headers = [
        readout(hdu, plane.shape, used, **own)
        for hdu, (plane, own) in enumerate(zip(planes, cards, strict=True), start=1)
    ]
    (chip,) = join_chips(headers, used)
    raw = stack_pixels(planes)
    assert raw.shape == (chip.shape if chip.amplifiers else headers[0].shape)
    together = assemble_plane(raw, chip.amplifiers) if chip.amplifiers else raw[chip.trim]
    np.testing.assert_array_equal(together, image)
