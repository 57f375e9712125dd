"""Where the HDUs of a FITS file begin and how long each says it is, found without reading a pixel.

The walk reads header blocks and steps over the data. It needs no astropy, allocates nothing that a header
asks for, and takes a file that is still being written as what it is: a header that is only half there is
not a fault. Completeness, truncation and absurd sizes are all judged from its answer.

Reference: FITS Standard 4.0, sections 3.3 (blocks of 2880 bytes), 4.4.1 (size of the data) and 7.1 to 7.3.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

__all__ = ["BLOCK", "ByteSource", "Extent", "Layout", "LayoutState", "padded", "walk"]

BLOCK = 2880
CARD = 80
MAXIMUM_HEADER_BLOCKS = 4096
"""Blocks of one header (147,456 cards); what has no END by then is no FITS header."""
MAXIMUM_HDUS = 10_000
MAXIMUM_AXES = 999

_INTEGER = re.compile(rb"^\s*'?\s*([+-]?\d{1,18})")
_LOGICAL = re.compile(rb"^\s*'?\s*([TF])")
_CHECK_SUM = re.compile(rb"^\s*'[0-9A-Za-z]{16}'")
_TEXT = re.compile(rb"^\s*'([^']*)'")
_KEYS = re.compile(
    rb"^(SIMPLE|XTENSION|Z?BITPIX|Z?NAXIS\d{0,3}|PCOUNT|GCOUNT|GROUPS|ZIMAGE|NEXTEND|EXTEND|DATASUM|CHECKSUM)\s*$"
)


class ByteSource(Protocol):
    """A file that is read once from its start to its end."""

    def read(self, count: int) -> bytes:
        """Return the next ``count`` bytes, fewer at the end."""

    def skip(self, count: int) -> int:
        """Step over ``count`` bytes and return how many of them are there."""


class LayoutState(StrEnum):
    """How a walk over the HDUs ended."""

    WHOLE = "whole"
    HEADER_CUT = "header cut"
    DATA_CUT = "data cut"
    RESERVED = "reserved"
    """The next header is all zero bytes: room that was set aside and not yet written."""
    TOO_LARGE = "too large"
    NOT_FITS = "not FITS"


@dataclass(frozen=True, kw_only=True)
class Extent:
    """One HDU as its header declares it.

    Attributes
    ----------
    index : int
        0 for the primary HDU.
    extension : str
        Value of XTENSION; "" for the primary HDU.
    axes : tuple of int
        Lengths of the image's axes in FITS order (NAXIS1 first), those of the uncompressed image where
        the HDU is a compressed one; () where the HDU is no image.
    bitpix : int
        Of the image, uncompressed.
    start, data_start, data_size : int
        Where the header and the data begin, and the bytes of the data without padding.
    data_sum : int or None
        What DATASUM says; None where there is no such card, or no number in it.
    check_summed : bool
        The header has a CHECKSUM, which makes the sum over header and data zero.
    """

    index: int
    extension: str
    axes: tuple[int, ...]
    bitpix: int
    start: int
    data_start: int
    data_size: int
    data_sum: int | None = None
    check_summed: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the image as numpy has it, (ny, nx); axes of length 1 beyond the second are left out."""
        return tuple(length for axis, length in enumerate(self.axes) if axis < 2 or length != 1)[::-1]

    @property
    def pixels(self) -> int:
        """Number of pixels of the image; 0 where the HDU holds none."""
        return math.prod(self.axes) if self.axes else 0


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The HDUs that were found, and how the walk ended.

    Attributes
    ----------
    extents : tuple of Extent
        Every HDU whose header is whole.
    state : LayoutState
        How the walk ended.
    reason : str
        The fault in words; "" where the file is whole.
    declared, present : int
        Bytes that the headers found so far ask for, and how many of them are there.
    expects_more : bool
        The headers announce an HDU (NEXTEND, or EXTEND behind an empty primary) that is not there.
    """

    extents: tuple[Extent, ...]
    state: LayoutState
    reason: str = ""
    declared: int = 0
    present: int = 0
    expects_more: bool = False

    @property
    def images(self) -> tuple[Extent, ...]:
        """The HDUs that hold pixels."""
        return tuple(extent for extent in self.extents if extent.pixels > 0)


def walk(
    source: ByteSource,
    *,
    maximum_size: int | None = None,
    objection: Callable[[Extent], str] | None = None,
) -> Layout:
    """Walk over the HDUs of ``source``.

    Parameters
    ----------
    source : ByteSource
        Positioned at the start of the file.
    maximum_size : int, optional
        Bytes that the file may declare; the walk stops before it steps over more.
    objection : callable, optional
        Says what is wrong with an HDU by its header alone, "" where nothing is; the walk ends there.

    Returns
    -------
    Layout
        Never raises for anything that stands in the file; errors of reading pass through.
    """
    extents: list[Extent] = []
    cards: dict[bytes, bytes] = {}
    declared = present = 0
    while len(extents) < MAXIMUM_HDUS:
        header, state, reason = _read_header(source, first=not extents)
        if state is LayoutState.WHOLE and not header:
            break
        if state is not LayoutState.WHOLE:
            size = present + len(header)
            return Layout(
                extents=tuple(extents), state=state, reason=reason, declared=size + BLOCK, present=size
            )
        found = _cards(header)
        cards = cards or found
        try:
            extent = _extent(found, len(extents), present, len(header))
        except ValueError as error:
            return _ended(extents, LayoutState.NOT_FITS, str(error), declared, present)
        extents.append(extent)
        declared = extent.data_start + extent.data_size
        present = extent.data_start
        if maximum_size is not None and declared > maximum_size:
            reason = f"HDU {extent.index} asks for {extent.data_size} bytes, at most {maximum_size} are taken"
            return _ended(extents, LayoutState.TOO_LARGE, reason, declared, present)
        if objection is not None and (reason := objection(extent)):
            return _ended(extents, LayoutState.TOO_LARGE, reason, declared, present)
        here = source.skip(padded(extent.data_size))
        present += here
        if here < extent.data_size:
            reason = f"truncated: HDU {extent.index} declares {declared} bytes, {present} are present"
            return _ended(extents, LayoutState.DATA_CUT, reason, declared, present)
    return Layout(
        extents=tuple(extents),
        state=LayoutState.WHOLE,
        declared=declared,
        present=present,
        expects_more=_expects_more(cards, len(extents)),
    )


def _ended(extents: list[Extent], state: LayoutState, reason: str, declared: int, present: int) -> Layout:
    return Layout(extents=tuple(extents), state=state, reason=reason, declared=declared, present=present)


def padded(size: int) -> int:
    """Return the bytes that data of this size take in the file."""
    return -(-size // BLOCK) * BLOCK


def _read_header(source: ByteSource, *, first: bool) -> tuple[bytes, LayoutState, str]:
    """Return the blocks of the next header up to END, how that went, and the fault in words.

    Behind the last HDU anything that does not begin like an extension is junk that FITS allows
    (special records); it ends the walk with an empty header.
    """
    start = b"SIMPLE  =" if first else b"XTENSION="
    header = bytearray()
    for _ in range(MAXIMUM_HEADER_BLOCKS):
        block = source.read(BLOCK)
        begins_well = bool(block) and block[: len(start)] == start[: len(block)]
        if not header and not first and not begins_well:
            return b"", LayoutState.WHOLE, ""
        header += block
        state, reason = _header_state(header, block, start)
        if state is not None:
            return bytes(header), state, reason
    return bytes(header), LayoutState.NOT_FITS, f"not FITS: no END within {len(header)} bytes of header"


def _header_state(header: bytearray, block: bytes, start: bytes) -> tuple[LayoutState | None, str]:
    """Return how the header ended with its last ``block`` and the fault; (None, "") while it goes on."""
    if block and not block.strip(b"\0"):
        return LayoutState.RESERVED, "a header block is all zero bytes: reserved, not yet written"
    if header[: len(start)] != start[: len(header)]:
        return LayoutState.NOT_FITS, f"not FITS: begins with {bytes(header[:8])!r}"
    if len(block) < BLOCK:
        return LayoutState.HEADER_CUT, f"truncated: the header breaks off after {len(header)} bytes"
    return (LayoutState.WHOLE, "") if _has_end(block) else (None, "")


def _has_end(block: bytes) -> bool:
    return any(
        block[at : at + 3] == b"END" and not block[at + 3 : at + 8].strip(b" \0")
        for at in range(0, len(block) - 2, CARD)
    )


def _cards(header: bytes) -> dict[bytes, bytes]:
    """Return the cards that say how large the data is and its sum: keyword -> text behind the equals sign."""
    cards: dict[bytes, bytes] = {}
    for at in range(0, len(header), CARD):
        card = header[at : at + CARD]
        if card[8:9] == b"=" and (match := _KEYS.match(card[:8])):
            cards.setdefault(match[1], card[9:])
    return cards


def _integer(cards: dict[bytes, bytes], key: str, default: int | None = None) -> int:
    text = cards.get(key.encode())
    if text is None and default is not None:
        return default
    match = _INTEGER.match(text or b"")
    if match is None:
        raise ValueError(f"not FITS: {key} is {'absent' if text is None else 'no whole number'}")
    return int(match[1])


def _is_true(cards: dict[bytes, bytes], key: bytes) -> bool:
    match = _LOGICAL.match(cards.get(key, b""))
    return match is not None and match[1] == b"T"


def _axes(cards: dict[bytes, bytes], prefix: str) -> tuple[int, ...]:
    count = _integer(cards, prefix)
    if not 0 <= count <= MAXIMUM_AXES:
        raise ValueError(f"not FITS: {prefix} = {count}")
    axes = tuple(_integer(cards, f"{prefix}{axis}") for axis in range(1, count + 1))
    if any(length < 0 for length in axes):
        raise ValueError(f"not FITS: a negative length among the axes {axes}")
    return axes


def _extent(cards: dict[bytes, bytes], index: int, start: int, header_size: int) -> Extent:
    """Return what one header declares (FITS Standard 4.0, equations 1, 2 and 4).

    Raises
    ------
    ValueError
        A keyword that gives the size is absent or senseless.
    """
    axes = _axes(cards, "NAXIS")
    bitpix = _integer(cards, "BITPIX")
    if abs(bitpix) not in (8, 16, 32, 64):
        raise ValueError(f"not FITS: BITPIX = {bitpix}")
    text = _TEXT.match(cards.get(b"XTENSION", b""))
    extension = text[1].decode("ascii", "replace").strip() if text else ""
    grouped = bool(axes) and axes[0] == 0 and _is_true(cards, b"GROUPS")
    counted = axes[1:] if grouped else axes
    elements = math.prod(counted) if counted else 0
    per_group = elements + _integer(cards, "PCOUNT", 0)
    size = abs(bitpix) // 8 * _integer(cards, "GCOUNT", 1) * per_group
    if size < 0:
        raise ValueError(f"not FITS: {size} bytes of data declared")
    if _is_true(cards, b"ZIMAGE"):
        axes, bitpix = _axes(cards, "ZNAXIS"), _integer(cards, "ZBITPIX", bitpix)
    elif extension not in ("", "IMAGE"):
        axes = ()
    data_sum = _INTEGER.match(cards.get(b"DATASUM", b""))
    return Extent(
        index=index,
        extension=extension,
        axes=axes,
        bitpix=bitpix,
        start=start,
        data_start=start + header_size,
        data_size=size,
        data_sum=None if data_sum is None else int(data_sum[1]),
        check_summed=_CHECK_SUM.match(cards.get(b"CHECKSUM", b"")) is not None,
    )


def _expects_more(primary: dict[bytes, bytes], found: int) -> bool:
    announced = _INTEGER.match(primary.get(b"NEXTEND", b""))
    if announced is not None:
        return int(announced[1]) > found - 1
    empty = _INTEGER.match(primary.get(b"NAXIS", b""))
    return found == 1 and empty is not None and int(empty[1]) == 0 and _is_true(primary, b"EXTEND")
