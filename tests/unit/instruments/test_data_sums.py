"""Are the data those that were written? astropy writes the cards, the FITS Standard says what they hold."""

from __future__ import annotations

import io
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning
from hypothesis import given
from hypothesis import strategies as st

from nightflow.instruments.completeness import Completeness, completeness
from nightflow.instruments.data_sums import data_sum, wrong_data_sums
from nightflow.instruments.fits_file import read_headers
from nightflow.instruments.fits_layout import walk
from nightflow.instruments.fits_source import FileSource, open_source
from tests.unit.instruments.files import counts, gzipped


def summed(path: Path, data: np.ndarray | None = None) -> Path:
    fits.PrimaryHDU(counts() if data is None else data).writeto(path, checksum=True)
    return path


def wrong(path: Path) -> dict[int, str]:
    with open_source(path) as source:
        layout = walk(source)
        return wrong_data_sums(source.content(), layout)


@given(st.binary(max_size=3 * 2880))
def test_the_sum_is_that_of_the_standard(data: bytes) -> None:
    """Word by word with the carry brought round each time, as appendix J has it."""
    total = 0
    padded = data + bytes(-len(data) % 4)
    for at in range(0, len(padded), 4):
        total += int.from_bytes(padded[at : at + 4], "big")
        total = (total & 0xFFFFFFFF) + (total >> 32)
    assert data_sum(io.BytesIO(data), 0, len(padded)) == total


@pytest.mark.parametrize("kind", ["uint16", "float32", "int32"])
def test_files_of_astropy_are_right(tmp_path: Path, kind: str) -> None:
    assert wrong(summed(tmp_path / "a.fits", counts((300, 410)).astype(kind))) == {}


def test_each_hdu_of_a_packed_mosaic_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "m.fits.fz"
    chips = [fits.CompImageHDU(counts((200, 200), seed=chip), name=f"C{chip}") for chip in (1, 2)]
    fits.HDUList([fits.PrimaryHDU(), *chips]).writeto(path, checksum=True)
    assert wrong(path) == {}
    content = bytearray(path.read_bytes())
    with open_source(path) as source:
        second = walk(source).extents[2]
    content[second.data_start + second.data_size // 2] ^= 4
    path.write_bytes(content)
    assert list(wrong(path)) == [2]


def test_a_file_of_full_length_is_not_complete_until_its_last_byte_is_right(tmp_path: Path) -> None:
    whole = summed(tmp_path / "whole.fits").read_bytes()
    landing = tmp_path / "landing.fits"
    for written in (2880, 4000, 2880 + 40 * 60 * 2 - 1):
        landing.write_bytes(whole[:written] + bytes(len(whole) - written))
        answer = completeness(landing)
        assert answer.state is Completeness.INCOMPLETE
        assert "DATASUM" in answer.reason
    landing.write_bytes(whole)
    assert completeness(landing).state is Completeness.COMPLETE


@given(
    st.lists(st.tuples(st.integers(2880, 2880 + 1199), st.integers(0, 255)), max_size=3),
    st.just(b"M 67    ") | st.from_regex(rb"[A-Z 0-9]{8}", fullmatch=True),
)
def test_header_and_data_are_right_where_astropy_finds_them_so(
    pixels: list[tuple[int, int]], name: bytes
) -> None:
    content = bytearray(_small().replace(b"'M 67    '", b"'" + name + b"'"))
    for at, byte in pixels:
        content[at] = byte
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", AstropyUserWarning)
        with fits.open(io.BytesIO(content), checksum=True) as hdus:
            hdus.verify("ignore")
    source = FileSource(io.BytesIO(content), len(content))
    found = wrong_data_sums(source.content(), walk(source))
    assert bool(found) == any("verification failed" in str(one.message) for one in said)
    assert ("DATASUM" in found.get(0, "")) == any("Datasum" in str(one.message) for one in said)


@cache
def _small() -> bytes:
    file = io.BytesIO()
    fits.PrimaryHDU(counts((20, 30)), fits.Header([("OBJECT", "M 67")])).writeto(file, checksum=True)
    return file.getvalue()


def test_a_header_that_was_changed_without_its_check_sum(tmp_path: Path) -> None:
    path = summed(tmp_path / "a.fits")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"BZERO   =                32768", b"BZERO   =                32769"))
    assert "HDU 0: header and data do not have the sum of CHECKSUM" in wrong(path)[0]
    assert completeness(path).state is Completeness.INCOMPLETE
    assert "CHECKSUM" in read_headers(path)[0].damage
    path.write_bytes(content.replace(b"CHECKSUM=", b"CHECKSOM="))
    assert wrong(path) == {}, "DATASUM says nothing of the header"


@pytest.mark.parametrize("text", ["", "                ", "nonsense"])
def test_a_check_sum_that_is_none_says_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(counts(), fits.Header([("CHECKSUM", text)])).writeto(path)
    assert wrong(path) == {}


def test_a_damaged_file_says_so_in_its_header(tmp_path: Path) -> None:
    path = summed(tmp_path / "a.fits")
    assert read_headers(path)[0].damage == ""
    content = bytearray(path.read_bytes())
    content[3000] ^= 1
    path.write_bytes(content)
    assert "HDU 0: its data sum to" in read_headers(path)[0].damage
    assert read_headers(gzipped(path))[0].damage == ""


@pytest.mark.parametrize("text", ["", "nonsense", "-"])
def test_a_card_without_a_number_says_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(counts(), fits.Header([("DATASUM", text)])).writeto(path)
    assert wrong(path) == {}
    assert completeness(path).state is Completeness.COMPLETE
