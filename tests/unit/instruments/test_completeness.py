"""Is a landing file whole?"""

from __future__ import annotations

from pathlib import Path

import pytest

from nightflow.errors import RetryLater
from nightflow.instruments.completeness import Completeness, completeness
from tests.unit.instruments.files import PNG, counts, cut, gzipped, write, write_compressed, write_mosaic


def test_a_slowly_written_file_is_incomplete_until_its_last_pixel(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.fits").read_bytes()
    landing = tmp_path / "landing.fits"
    pixels_end = 2880 + 40 * 60 * 2
    for size in (0, 1, 100, 2879, 2880, 2881, 5000, pixels_end - 1):
        landing.write_bytes(whole[:size])
        answer = completeness(landing)
        assert answer.state is Completeness.INCOMPLETE, (size, answer)
        assert answer.reason
    for size in (pixels_end, len(whole)):
        landing.write_bytes(whole[:size])
        assert completeness(landing).state is Completeness.COMPLETE


def test_a_slowly_written_gzip_is_incomplete_until_its_check_sum(tmp_path: Path) -> None:
    packed = gzipped(write(tmp_path / "a.fits"))
    whole = packed.read_bytes()
    for size in (2, 5, 30, len(whole) // 2, len(whole) - 8, len(whole) - 1):
        packed.write_bytes(whole[:size])
        assert completeness(packed).state is Completeness.INCOMPLETE, size
    packed.write_bytes(whole)
    assert completeness(packed).state is Completeness.COMPLETE


def test_a_slowly_written_fpack_file(tmp_path: Path) -> None:
    packed = write_compressed(tmp_path / "a.fits.fz", counts((200, 200)))
    whole = packed.read_bytes()
    for size in (100, 2880, 4000, len(whole) // 2):
        packed.write_bytes(whole[:size])
        assert completeness(packed).state is Completeness.INCOMPLETE, size
    packed.write_bytes(whole)
    assert completeness(packed).state is Completeness.COMPLETE


def test_a_mosaic_cut_between_announced_chips(tmp_path: Path) -> None:
    path = write_mosaic(tmp_path / "m.fits", 3)
    content = bytearray(path.read_bytes())
    end = content.index(b"END" + b" " * 77)
    content[end : end + 160] = b"NEXTEND =                    3".ljust(80) + b"END".ljust(80)
    path.write_bytes(content)
    assert completeness(path).state is Completeness.COMPLETE
    cut(path, 2880 + (len(content) - 2880) // 3)
    answer = completeness(path)
    assert answer.state is Completeness.INCOMPLETE
    assert "announce" in answer.reason


def test_reserved_room_is_incomplete(tmp_path: Path) -> None:
    path = tmp_path / "reserved.fits"
    path.write_bytes(bytes(20_000))
    assert completeness(path).state is Completeness.INCOMPLETE


@pytest.mark.parametrize("content", [PNG, b"hello", b"\x1f\x8b" + b"\xff" * 200])
def test_what_is_no_fits_file_has_no_length(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.fits"
    path.write_bytes(content)
    answer = completeness(path)
    assert answer.state is Completeness.UNKNOWN
    assert answer.reason


def test_a_file_that_is_not_there_is_asked_for_again(tmp_path: Path) -> None:
    with pytest.raises(RetryLater, match=r"gone\.fits: cannot be read: No such file"):
        completeness(tmp_path / "gone.fits")


def test_what_claims_too_many_pixels_is_not_unpacked_to_learn_its_length(tmp_path: Path) -> None:
    """Its worker will refuse it; before its data come, its length is already of no interest."""
    whole = gzipped(write(tmp_path / "a.fits", counts((400, 600)))).read_bytes()
    path = tmp_path / "landing.fits.gz"
    path.write_bytes(whole[: len(whole) // 2])
    assert completeness(path, max_pixels=240_000).state is Completeness.INCOMPLETE
    answer = completeness(path, max_pixels=239_999)
    assert answer.state is Completeness.UNKNOWN
    assert "max_pixels = 239999" in answer.reason
