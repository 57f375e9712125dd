"""Are the data of a FITS file those that were written? Its DATASUM cards tell.

A file may have its full length before its last byte is there: Windows and some file servers set the length
first. Reference: FITS Standard 4.0, section 4.4.2.7 and appendix J (the sum of 32-bit words with the carries
brought round).
"""

from __future__ import annotations

import io
from typing import BinaryIO

import numpy as np

from nightflow.instruments.fits_layout import Layout, padded

__all__ = ["data_sum", "wrong_data_sums"]

_CHUNK = 1 << 22
"""Bytes; a multiple of the length of a word."""
_WORD = 4


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
    """Return the HDUs whose data do not have the sum that their DATASUM card says, each with a reason.

    Parameters
    ----------
    file : binary file
        Not compressed as a whole: a gzip file has a check sum of its own.
    layout : Layout
        Of that file.
    """
    wrong = {}
    for extent in layout.extents:
        if extent.data_sum is None:
            continue
        found = data_sum(file, extent.data_start, padded(extent.data_size))
        # With the carries brought round, no bit and all bits are both zero.
        if found != extent.data_sum and {found, extent.data_sum} != {0, 0xFFFFFFFF}:
            wrong[extent.index] = (
                f"HDU {extent.index}: its data sum to {found}, DATASUM says {extent.data_sum}: they are not "
                "those that were written"
            )
    return wrong


def _folded(total: int) -> int:
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total
