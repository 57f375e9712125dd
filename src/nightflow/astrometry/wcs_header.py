"""A WCS into a FITS header and into text, and back."""

from __future__ import annotations

import re

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

__all__ = ["remove_wcs", "wcs_from_text", "wcs_to_text", "write_wcs"]

_STALE = re.compile(
    r"(CD\d_\d|PC\d_\d|PC00\d00\d|PV\d_\d+|CDELT\d|CROTA\d|CTYPE\d|CUNIT\d|CRVAL\d|CRPIX\d|CNAME\d|CRDER\d|CSYER\d"
    r"|(A|B|AP|BP)_(ORDER|DMAX|\d_\d)|LONPOLE|LATPOLE|WCSAXES|WCSNAME|RADESYS|RADECSYS|EQUINOX|WAT\d_\d{3})"
)


def remove_wcs(header: fits.Header) -> None:
    """Delete the cards of the primary celestial WCS, SIP, TPV and TNX terms included."""
    for key in [key for key in header if _STALE.fullmatch(key)]:
        header.remove(key, ignore_missing=True, remove_all=True)


def write_wcs(header: fits.Header, wcs: WCS) -> None:
    """Write ``wcs`` into ``header`` in place of whatever celestial WCS it held."""
    remove_wcs(header)
    header.update(_cards(wcs))


def wcs_to_text(wcs: WCS) -> str:
    """Return ``wcs``, distortion included, as header cards, one a line."""
    return _cards(wcs).tostring(sep="\n", endcard=False, padding=False)


def wcs_from_text(text: str) -> WCS:
    """Return the WCS that `wcs_to_text` wrote."""
    return WCS(fits.Header.fromstring(text, sep="\n"))


def _cards(wcs: WCS) -> fits.Header:
    """Return the cards of ``wcs`` with a CD matrix, which every reader of SIP and TPV takes."""
    header = wcs.to_header(relax=True)
    matrix = wcs.pixel_scale_matrix
    for key in [key for key in header if re.fullmatch(r"(PC\d_\d|CDELT\d)", key)]:
        del header[key]
    for (row, column), value in np.ndenumerate(matrix):
        header.insert("CUNIT1", (f"CD{row + 1}_{column + 1}", float(value)))
    for key in ("MJDREF", "DATEREF", "MJD-OBS", "DATE-OBS", "MJD-AVG", "DATE-AVG"):
        header.remove(key, ignore_missing=True)
    return header
