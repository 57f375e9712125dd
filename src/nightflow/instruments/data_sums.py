"""Are header and data of a FITS file those that were written? Its DATASUM and CHECKSUM cards tell.

A file may have its full length before its last byte is there: Windows and some file servers set the length
first. Reference: FITS Standard 4.0, section 4.4.2.7 and appendix J (the sum of 32-bit words with the carries
brought round).
"""

from __future__ import annotations

import io
from typing import BinaryIO

import numpy as np

from nightflow.instruments.fits_layout import Extent, Layout, padded

__all__ = ["data_sum", "wrong_data_sums"]

_CHUNK = 1 << 22
"""Bytes; a multiple of the length of a word."""
_WORD = 4
_ALL_BITS = 0xFFFFFFFF


def data_sum(file: BinaryIO, start: int, size: int) -> int:
    """Return the sum that DATASUM holds.

    Parameters
    ----------
    file : binary file
        What is missing at its end counts as zeros, as the padding does.
    start, size : int
        Where the data begins, and how many bytes it has with its padding.

    Returns
    -------
    int
        From 0 to 2**32 - 1.
    """
    file.seek(start, io.SEEK_SET)
    total = 0
    while size > 0 and (chunk := file.read(min(size, _CHUNK))):
        size -= len(chunk)
        words = np.frombuffer(chunk + bytes(-len(chunk) % _WORD), ">u4")
        total = _folded(total + int(words.sum(dtype=np.uint64)))
    return total


def wrong_data_sums(file: BinaryIO, layout: Layout) -> dict[int, str]:
    """Return the HDUs that do not have the sums that their DATASUM and CHECKSUM say, each with a reason.

    Parameters
    ----------
    file : binary file
        Not compressed as a whole: a gzip file has a check sum of its own.
    layout : Layout
        Of that file.
    """
    wrong = {extent.index: _fault(file, extent) for extent in layout.extents}
    return {index: fault for index, fault in wrong.items() if fault}


def _fault(file: BinaryIO, extent: Extent) -> str:
    """Return what is wrong with an HDU, in words; its data are read once, and only where there is a sum."""
    if extent.data_sum is None and not extent.check_summed:
        return ""
    data = data_sum(file, extent.data_start, padded(extent.data_size))
    if extent.data_sum is not None and not _is_zero(data - extent.data_sum):
        return (
            f"HDU {extent.index}: its data sum to {data}, DATASUM says {extent.data_sum}: they are not "
            "those that were written"
        )
    if extent.check_summed:
        header = data_sum(file, extent.start, extent.data_start - extent.start)
        if not _is_zero(header + data):
            return (
                f"HDU {extent.index}: header and data do not have the sum of CHECKSUM: they are not those "
                "that were written, or a card was changed without it"
            )
    return ""


def _is_zero(total: int) -> bool:
    """Return whether a sum is zero: with the carries brought round, all bits are as good as none."""
    return total % _ALL_BITS == 0


def _folded(total: int) -> int:
    while total >> 32:
        total = (total & _ALL_BITS) + (total >> 32)
    return total
