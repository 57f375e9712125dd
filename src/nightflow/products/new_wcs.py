"""Give a reduced frame that is written already another WCS; its pixels stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from astropy.io import fits
from astropy.wcs import WCS

from nightflow.astrometry.wcs_header import write_wcs
from nightflow.errors import ConfigurationError
from nightflow.fits_output import printable, replacing

__all__ = ["replace_wcs"]


def replace_wcs(path: Path, wcs: WCS, cards: Sequence[fits.Card], history: str) -> None:
    """Write ``wcs`` and ``cards`` into the science HDU of a product, compressed or not.

    Parameters
    ----------
    path : Path
        A file by `nightflow.products.reduced_frame`; raw frames are never changed.
    cards : sequence of astropy.io.fits.Card
        What there is to say of the WCS.
    history : str
        A line that tells what was done.

    Raises
    ------
    ConfigurationError
        It is no product of nightflow.
    OSError
        It cannot be read or written; the file is as it was.
    """
    # tiles stay packed: their header is that of the image, and nothing is rounded once more
    with fits.open(path, memmap=False, disable_image_compression=True) as hdus:
        science = next((hdu for hdu in hdus if "NFCAMERA" in hdu.header), None)
        if science is None:
            raise ConfigurationError(f"{path}: no reduced frame of nightflow; other files are not changed")
        write_wcs(science.header, wcs)
        for one in cards:
            science.header[one.keyword] = (one.value, one.comment)
        science.header.add_history(printable(history))
        for stale in ("ZHECKSUM", "ZDATASUM"):
            science.header.remove(stale, ignore_missing=True)
        with replacing(path) as partial:
            hdus.writeto(partial, checksum=True)
