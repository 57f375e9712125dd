"""How large an image may be, judged by what its header claims: before its data is read, unpacked or kept."""

from __future__ import annotations

from nightflow.instruments.fits_layout import Extent
from nightflow.instruments.fits_source import largest_content

__all__ = ["MAXIMUM_PIXELS", "oversize"]

MAXIMUM_PIXELS = 2**31
"""From here on numbers of pixels do not fit into 32 bits; less is a setting, `Settings.max_pixels`."""


def oversize(extent: Extent, max_pixels: int | None = None) -> str:
    """Return in words by what an HDU claims too large an image, "" where it does not.

    Parameters
    ----------
    extent : Extent
        Of the HDU.
    max_pixels : int, optional
        Of one image, as in the settings.
    """
    shape = " x ".join(str(length) for length in extent.axes)
    if extent.pixels >= MAXIMUM_PIXELS:
        return f"HDU {extent.index}: {shape} is {extent.pixels} pixels, not fewer than {MAXIMUM_PIXELS}"
    if max_pixels is not None and extent.pixels > max_pixels:
        return (
            f"HDU {extent.index}: {shape} is {extent.pixels} pixels, max_pixels = {max_pixels} in the "
            "settings: raise it there if a camera is that large"
        )
    unpacked = extent.pixels * abs(extent.bitpix) // 8
    if unpacked > extent.data_size and unpacked > largest_content(extent.data_size):
        return f"HDU {extent.index}: {shape} pixels out of {extent.data_size} compressed bytes is absurd"
    return ""
