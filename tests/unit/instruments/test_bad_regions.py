from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightflow.errors import ConfigurationError
from nightflow.instruments.bad_regions import BadRegion, parse_bad_region, read_bad_pixel_file
from nightflow.instruments.registry import load_profiles

PROFILE = 'name = "mine"\nextends = "generic"\nrecognise = { INSTRUME = "QHY" }\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("column 256", BadRegion("", None, slice(255, 256))),
        ("Columns 256:258", BadRegion("", None, slice(255, 258))),
        ("column 256 1:300", BadRegion("", slice(0, 300), slice(255, 256))),
        ("row 17", BadRegion("", slice(16, 17), None)),
        ("rows 17:18 5", BadRegion("", slice(16, 18), slice(4, 5))),
        ("pixel 40 512", BadRegion("", slice(511, 512), slice(39, 40))),
        ("rectangle 10:20 30:40", BadRegion("", slice(29, 40), slice(9, 20))),
        ("rectangle 20:10 40:30", BadRegion("", slice(29, 40), slice(9, 20))),
        ("[10:20,30:40]", BadRegion("", slice(29, 40), slice(9, 20))),
        ("detector 2: column 88", BadRegion("2", None, slice(87, 88))),
        ("detector ccd-3 : [1:1,2:2]", BadRegion("ccd-3", slice(1, 2), slice(0, 1))),
    ],
)
def test_regions_are_read_in_fits_pixels(text: str, expected: BadRegion) -> None:
    assert parse_bad_region(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "column", "column 0", "column -3", "column 1.5", "column 1 2 3", "row a", "pixel 4", "pixel 4 5:6",
     "rectangle 1:2", "[1:2]", "256", "circle 3 4", "detector 2", "detector 2:", "column 1:2:3", "column ٣"],
)  # fmt: skip
def test_anything_else_is_none(text: str) -> None:
    assert parse_bad_region(text) is None


ranges = st.tuples(st.integers(1, 9999), st.integers(1, 9999)).map(sorted)


@given(ranges, ranges, st.sampled_from(["column", "row", "rectangle", "section"]), st.sampled_from(["", "7"]))
def test_what_is_written_is_what_is_read(x: list[int], y: list[int], word: str, detector: str) -> None:
    body = {
        "column": f"column {x[0]}:{x[1]} {y[0]}:{y[1]}",
        "row": f"ROWS  {y[0]}:{y[1]}\t{x[0]}:{x[1]}",
        "rectangle": f"rectangle {x[0]}:{x[1]} {y[0]}:{y[1]}",
        "section": f"[{x[0]}:{x[1]},{y[0]}:{y[1]}]",
    }[word]
    region = parse_bad_region(f"detector {detector}: {body}" if detector else body)
    assert region == BadRegion(detector, slice(y[0] - 1, y[1]), slice(x[0] - 1, x[1]))
    assert region.within((y[1], x[1])) == (region.rows, region.columns)
    assert region.within((y[1] - 1, x[1])) is None


@given(st.text(max_size=60))
def test_no_text_is_more_than_not_a_region(text: str) -> None:
    region = parse_bad_region(text)
    assert region is None or isinstance(region, BadRegion)


def test_a_file_holds_a_region_a_line(tmp_path: Path) -> None:
    file = tmp_path / "chip.txt"
    file.write_text("# bad pixels of the chip\n\ncolumn 256   # bleeds\r\n  pixel 40 512\n")
    assert read_bad_pixel_file(file) == ["column 256", "pixel 40 512"]


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    file = tmp_path / "chip.txt"
    file.write_text("column 256\ncolum 257\n")
    with pytest.raises(ConfigurationError, match=r"chip\.txt, line 2: 'colum 257' is no region; write"):
        read_bad_pixel_file(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"chip\.txt: the bad pixels \(detector\.bad_pixel_file\)"):
        read_bad_pixel_file(tmp_path / "chip.txt")


def test_the_regions_of_the_file_become_the_profiles(tmp_path: Path) -> None:
    (tmp_path / "pixels").mkdir()
    (tmp_path / "pixels" / "mine.txt").write_text("column 5\n")
    detector = '[detector]\nbad_pixel_file = "pixels/mine.txt"\nbad_pixel_regions = ["row 1"]\n'
    (tmp_path / "mine.toml").write_text(PROFILE + detector)
    assert load_profiles(tmp_path)[0].detector.bad_pixel_regions == ["row 1", "column 5"]


def test_a_region_of_the_profile_is_checked_as_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(PROFILE + '[detector]\nbad_pixel_regions = ["colum 5"]\n')
    with pytest.raises(ConfigurationError, match="bad_pixel_regions"):
        load_profiles(tmp_path)


def test_a_list_that_is_none_is_an_error_of_the_profile(tmp_path: Path) -> None:
    detector = '[detector]\nbad_pixel_file = "x.txt"\nbad_pixel_regions = 3\n'
    (tmp_path / "mine.toml").write_text(PROFILE + detector)
    with pytest.raises(ConfigurationError, match="bad_pixel_regions"):
        load_profiles(tmp_path)
