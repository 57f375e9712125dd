"""The walk over HDUs, on bytes made by hand and by astropy."""

from __future__ import annotations

import io

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from nightflow.instruments.fits_layout import BLOCK, Layout, LayoutState, walk
from nightflow.instruments.fits_source import FileSource
from tests.unit.instruments.files import counts, header_block

SIMPLE = "SIMPLE  =                    T"


def layout_of(content: bytes, maximum_size: int | None = None) -> Layout:
    return walk(FileSource(io.BytesIO(content), len(content)), maximum_size=maximum_size)


def written(*hdus: fits.PrimaryHDU | fits.ImageHDU | fits.BinTableHDU) -> bytes:
    buffer = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(buffer)
    return buffer.getvalue()


def test_sizes_by_hand() -> None:
    header = header_block(SIMPLE, "BITPIX  = 16", "NAXIS   = 2", "NAXIS1  = 650", "NAXIS2  = 500")
    layout = layout_of(header + bytes(650 * 500 * 2))
    (extent,) = layout.extents
    assert (extent.axes, extent.shape, extent.pixels) == ((650, 500), (500, 650), 325_000)
    assert extent.data_size == 650_000
    assert layout.state is LayoutState.WHOLE
    assert layout.declared == 2880 + 650_000


def test_loose_cards_are_read() -> None:
    header = header_block(
        SIMPLE, "BITPIX  ='-32     '", "NAXIS   =     2 / two", "NAXIS1  =3", "NAXIS2  = +4"
    )
    (extent,) = layout_of(header + bytes(BLOCK)).extents
    assert (extent.bitpix, extent.data_size) == (-32, 48)


def test_group_and_heap_sizes() -> None:
    """|BITPIX|/8 x GCOUNT x (PCOUNT + product of the axes)."""
    header = header_block(
        "XTENSION= 'BINTABLE'",
        "BITPIX  = 8",
        "NAXIS   = 2",
        "NAXIS1  = 10",
        "NAXIS2  = 20",
        "PCOUNT  = 5000",
        "GCOUNT  = 1",
    )
    content = header_block(SIMPLE, "BITPIX  = 8", "NAXIS   = 0", "EXTEND  = T") + header + bytes(2 * BLOCK)
    layout = layout_of(content)
    assert layout.extents[1].data_size == 5200
    assert layout.images == ()
    assert layout.state is LayoutState.WHOLE


def test_several_hdus_as_astropy_writes_them() -> None:
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=np.arange(1000))])
    content = written(fits.PrimaryHDU(), fits.ImageHDU(counts()), table, fits.ImageHDU(counts((7, 9))))
    layout = layout_of(content)
    assert [extent.extension for extent in layout.extents] == ["", "IMAGE", "BINTABLE", "IMAGE"]
    assert [extent.shape for extent in layout.images] == [(40, 60), (7, 9)]
    assert layout.state is LayoutState.WHOLE
    assert layout.present == len(content)


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=4), st.data())
def test_whatever_is_cut_off_is_noticed(shapes: list[tuple[int, int]], data: st.DataObject) -> None:
    """A cut inside an HDU is a fault; a cut between two leaves a whole, shorter file."""
    hdus = [fits.ImageHDU(np.zeros(shape, np.int16)) for shape in shapes]
    content = written(fits.PrimaryHDU(), *hdus)
    boundaries = _boundaries(content)
    size = data.draw(st.integers(0, len(content) - 1))
    layout = layout_of(content[:size])
    if size in boundaries:
        assert layout.state is LayoutState.WHOLE
    elif layout.state is LayoutState.WHOLE:
        # Only the padding behind the last pixel may be missing.
        assert any(end - BLOCK < size < end for end in boundaries)
        assert layout.present == size
    else:
        assert layout.state in (LayoutState.HEADER_CUT, LayoutState.DATA_CUT)
        assert "truncated" in layout.reason


def _boundaries(content: bytes) -> set[int]:
    """Return the ends of the HDUs, as astropy sees them."""
    with fits.open(io.BytesIO(content)) as hdus:
        infos = [hdu.fileinfo() for hdu in hdus]
    return {info["datLoc"] + info["datSpan"] for info in infos}


def test_truncation_names_declared_and_present_bytes() -> None:
    content = written(fits.PrimaryHDU(counts()))
    layout = layout_of(content[:5000])
    assert layout.state is LayoutState.DATA_CUT
    assert layout.reason == "truncated: HDU 0 declares 7680 bytes, 5000 are present"


@pytest.mark.parametrize("size", [1, 5, 9, 80, 2879])
def test_half_a_header_is_cut_and_no_fault(size: int) -> None:
    content = written(fits.PrimaryHDU(counts()))
    layout = layout_of(content[:size])
    assert layout.state is LayoutState.HEADER_CUT
    assert f"{size} bytes" in layout.reason


def test_reserved_room_is_not_yet_a_file() -> None:
    assert layout_of(bytes(100_000)).state is LayoutState.RESERVED


def test_half_an_extension_header() -> None:
    content = written(fits.PrimaryHDU(), fits.ImageHDU(counts()))
    assert layout_of(content[: BLOCK + 4]).state is LayoutState.HEADER_CUT


def test_junk_behind_the_last_hdu_is_allowed() -> None:
    assert layout_of(written(fits.PrimaryHDU(counts())) + b"junk" * 1000).state is LayoutState.WHOLE


@pytest.mark.parametrize(
    ("cards", "fault"),
    [
        (["BITPIX  = 16", "NAXIS   = 1", "NAXIS1  = -5"], "negative"),
        (["BITPIX  = 13", "NAXIS   = 0"], "BITPIX = 13"),
        (["BITPIX  = abc", "NAXIS   = 0"], "BITPIX is no whole number"),
        (["BITPIX  = 16", "NAXIS   = 2", "NAXIS1  = 5"], "NAXIS2 is absent"),
        (["BITPIX  = 16", "NAXIS   = 5000"], "NAXIS = 5000"),
        (["BITPIX  = 16", "NAXIS   = 0", "PCOUNT  = -9"], "bytes of data declared"),
    ],
)
def test_senseless_headers(cards: list[str], fault: str) -> None:
    layout = layout_of(header_block(SIMPLE, *cards))
    assert layout.state is LayoutState.NOT_FITS
    assert fault in layout.reason


def test_no_end_within_a_bound() -> None:
    endless = (SIMPLE.ljust(80) + "COMMENT for ever".ljust(80) * 35).encode() * 5000
    layout = layout_of(endless)
    assert layout.state is LayoutState.NOT_FITS
    assert "no END" in layout.reason


def test_a_bound_stops_the_walk_before_the_data() -> None:
    header = header_block(SIMPLE, "BITPIX  = 16", "NAXIS   = 2", "NAXIS1  = 999999999", "NAXIS2  = 999999999")
    assert layout_of(header, maximum_size=10**9).state is LayoutState.TOO_LARGE


def test_announced_hdus_are_expected() -> None:
    empty = header_block(SIMPLE, "BITPIX  = 8", "NAXIS   = 0", "EXTEND  = T")
    assert layout_of(empty).expects_more
    assert not layout_of(empty + written(fits.PrimaryHDU(), fits.ImageHDU(counts()))[BLOCK:]).expects_more
    two = header_block(SIMPLE, "BITPIX  = 8", "NAXIS   = 0", "EXTEND  = T", "NEXTEND = 2")
    assert layout_of(two + written(fits.PrimaryHDU(), fits.ImageHDU(counts()))[BLOCK:]).expects_more


@given(st.binary(max_size=6000))
def test_any_bytes_are_judged(content: bytes) -> None:
    assert layout_of(content).state in LayoutState
    assert layout_of(header_block(SIMPLE)[:60] + content).state in LayoutState
