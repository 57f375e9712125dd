"""The WCS that stands in a raw header, whatever its dialect.

Cameras and reduction programs write the standard loosely: numbers as text, SCAMP's polynomial (PV cards)
under the name TAN, SIP coefficients without the suffix. The WCS cards are therefore copied one by one into
a header of their own, as numbers, under the name that astropy understands; everything else stays out of it.

References: Calabretta & Greisen 2002 (A&A 395, 1077) for the projections, Shupe et al. 2005 (ASP Conf. 347,
491) for SIP, https://fits.gsfc.nasa.gov/registry/tpvwcs/tpv.html for TPV.
"""

from __future__ import annotations

import re

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, Sip, WcsError
from numpy.typing import NDArray

from nightflow.instruments.header import FrameHeader
from nightflow.instruments.header_reader import card_value
from nightflow.instruments.values import parse_number, parse_text

__all__ = ["header_wcs", "on_chip"]

_NUMERIC = re.compile(
    r"^(CRVAL[12]|CRPIX[12]|CDELT[12]|CROTA[12]|CD[12]_[12]|PC[12]_[12]|LONPOLE|LATPOLE|EQUINOX|PV[12]_\d{1,2})$"
)
_SIP = re.compile(r"^(A|B|AP|BP)_(ORDER|\d_\d)$")
_CELESTIAL = re.compile(r"^(RA--|DEC-)-?([A-Z]{3})(-SIP)?$")
_FRAMES = ("ICRS", "FK5", "FK4")
_REQUIRED = ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2")


def header_wcs(raw_header: fits.Header) -> WCS | None:
    """Return the celestial WCS of a raw header.

    Parameters
    ----------
    raw_header : astropy.io.fits.Header
        Untrusted. TAN, TAN-SIP, TPV and TAN with PV cards (read as TPV) are known to work; any projection
        that astropy knows is passed on.

    Returns
    -------
    astropy.wcs.WCS or None
        In the frame and the pixels of the header (FITS counting inside, raw pixels with their overscan).
        None where the header holds no celestial WCS, or one that cannot be evaluated.
    """
    types = [_axis_type(raw_header, axis) for axis in (1, 2)]
    cards = _numeric_cards(raw_header)
    if None in types or any(key not in cards for key in _REQUIRED) or not _has_scale(cards):
        return None
    sip = {key: value for key, value in cards.items() if _SIP.match(key)}
    distorted = "PV" if any(key.startswith("PV") for key in cards) else "SIP" if sip else ""
    clean = fits.Header({"NAXIS": 2, **_image_size(raw_header), "WCSAXES": 2})
    for axis, (name, projection) in enumerate((kind for kind in types if kind), start=1):
        clean[f"CTYPE{axis}"] = name + _projection(projection, distorted)
        clean[f"CUNIT{axis}"] = "deg"
    for key, value in cards.items():
        if distorted != "PV" or key not in sip:
            clean[key] = int(value) if key.endswith("_ORDER") else value
    frame = parse_text(card_value(raw_header, "RADESYS")) or parse_text(card_value(raw_header, "RADECSYS"))
    if frame.upper() in _FRAMES:
        clean["RADESYS"] = frame.upper()
    return _evaluable(clean)


def on_chip(wcs: WCS, header: FrameHeader) -> WCS | None:
    """Return a WCS of raw pixels as one of the trimmed chip; None where the chip is no part of one raw image.

    Parameters
    ----------
    wcs : astropy.wcs.WCS
        Of the first HDU of the chip, as `header_wcs` gives it.
    header : FrameHeader
        Of the chip.
    """
    first = [one for one in header.amplifiers if one.hdu == header.hdus[0]]
    if not first:
        rows, columns = header.trim or (slice(0, 0), slice(0, 0))
        return _moved(wcs, np.array([1.0, 1.0]), -np.array([columns.start, rows.start], float))
    # A flipped axis counts down from the end of the place: chip = offset - raw, both counted from 1.
    moves = {
        tuple(
            (-1, place.stop + data.start + 1) if flip else (1, place.start - data.start)
            for data, place, flip in zip(one.data, one.place, (one.flip_y, one.flip_x), strict=True)
        )
        for one in first
    }
    if len(moves) > 1:
        return None
    signs, offsets = np.array(moves.pop(), float)[::-1].T
    return _moved(wcs, signs, offsets)


def _moved(wcs: WCS, signs: NDArray[np.float64], offsets: NDArray[np.float64]) -> WCS:
    """Return the WCS for pixels that are ``signs`` times the old ones plus ``offsets``, x first."""
    moved = wcs.deepcopy()
    moved.wcs.crpix = signs * wcs.wcs.crpix + offsets
    matrix = "cd" if wcs.wcs.has_cd() else "pc"
    setattr(moved.wcs, matrix, getattr(wcs.wcs, matrix) * signs)
    if wcs.sip is not None:
        moved.sip = _moved_sip(wcs.sip, signs, moved.wcs.crpix)
    return moved


def _moved_sip(sip: Sip, signs: NDArray[np.float64], crpix: NDArray[np.float64]) -> Sip:
    """Return the polynomials of flipped axes: each term changes sign with its powers, and with its result."""

    def flipped(terms: NDArray[np.float64] | None, result: float) -> NDArray[np.float64] | None:
        if terms is None:
            return None
        powers = np.arange(len(terms))
        return result * terms * signs[0] ** powers[:, np.newaxis] * signs[1] ** powers

    x, y = signs
    return Sip(flipped(sip.a, x), flipped(sip.b, y), flipped(sip.ap, x), flipped(sip.bp, y), crpix)


def _axis_type(header: fits.Header, axis: int) -> tuple[str, str] | None:
    """Return the axis's name ("RA--" or "DEC-", four letters) and the code of its projection."""
    match = _CELESTIAL.match(parse_text(card_value(header, f"CTYPE{axis}")).upper())
    return (match[1], match[2]) if match else None


def _projection(code: str, distorted: str) -> str:
    if distorted == "PV" and code == "TAN":
        return "-TPV"
    if distorted != "PV" and code == "TPV":
        return "-TAN"
    return f"-{code}-SIP" if distorted == "SIP" else f"-{code}"


def _numeric_cards(header: fits.Header) -> dict[str, float]:
    cards = {}
    for key in dict.fromkeys(header):
        if _NUMERIC.match(key) or _SIP.match(key):
            number = parse_number(card_value(header, key))
            if number is not None:
                cards[key] = number
    return cards


def _has_scale(cards: dict[str, float]) -> bool:
    return (
        {"CD1_1", "CD2_2"} <= cards.keys()
        or {"CD1_2", "CD2_1"} <= cards.keys()
        or {
            "CDELT1",
            "CDELT2",
        }
        <= cards.keys()
    )


def _image_size(header: fits.Header) -> dict[str, int]:
    sizes = {f"NAXIS{axis}": parse_number(card_value(header, f"NAXIS{axis}")) for axis in (1, 2)}
    return {key: int(size) for key, size in sizes.items() if size is not None}


def _evaluable(clean: fits.Header) -> WCS | None:
    try:
        # "fix" is for headers that nobody cleaned, and speaks of what it did not find.
        wcs = WCS(clean, fix=False)
        corner = wcs.all_pix2world([[0.0, 0.0]], 0)
    except (WcsError, ValueError):
        return None
    return wcs if bool((corner == corner).all()) else None
