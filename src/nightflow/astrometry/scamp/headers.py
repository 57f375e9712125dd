"""The headers that go into SCAMP (`.ahead`) and come out of it (`.head`): FITS cards as lines of text.

For each chip of a catalogue, in its order, there is a block of cards that ends with a line END.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS, WcsError
from numpy.typing import NDArray

from nightflow.astrometry.plate import Plate
from nightflow.errors import NoSolution

__all__ = ["read_head", "tpv_header", "wcs_cards", "wcs_of_head", "write_ahead", "write_head"]

_NEEDED = (
    "CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CD1_1", "CD1_2", "CD2_1", "CD2_2",
)  # fmt: skip
_DISTORTION = re.compile(r"PV[12]_\d+")
_PROSE = ("COMMENT", "HISTORY")
_CARD = 80
_GRID = 12
_TPV_POWERS = ((0, 0), (1, 0), (0, 1), None, (2, 0), (1, 1), (0, 2), (3, 0), (2, 1), (1, 2), (0, 3), None,
               (4, 0), (3, 1), (2, 2), (1, 3), (0, 4))  # fmt: skip
"""Powers of an axis's own coordinate and of the other one in PVi_0, PVi_1 ...; None: of the radius."""


def read_head(path: Path) -> list[fits.Header]:
    """Read a `.head` file: one header a chip, with WCS cards that mean what they say.

    COMMENT and HISTORY are left out: they hold an e acute in Latin 1 or UTF-8, which is no FITS. CTYPE is
    TPV where there are PV cards, else TAN: SCAMP claims TPV also for a linear solution, which it writes
    without any, and older versions write TAN beside PV.

    Raises
    ------
    NoSolution
        A card is unreadable, missing or no finite number, or the last block has no END.
    """
    blocks: list[fits.Header] = []
    cards = fits.Header()
    for number, line in enumerate(path.read_bytes().decode("latin-1").splitlines(), start=1):
        if line.strip() == "END":
            blocks.append(_checked(cards, f"{path.name}, chip {len(blocks) + 1}"))
            cards = fits.Header()
        elif line.strip() and not line.startswith(_PROSE):
            cards.append(_card(line, f"{path.name}, line {number}"), end=True)
    if len(cards):
        raise NoSolution(f"{path.name}: cut off: no END after {len(blocks)} chips")
    return blocks


def wcs_of_head(header: fits.Header) -> WCS:
    """Return the WCS of a header that `read_head` gave.

    Raises
    ------
    NoSolution
        wcslib cannot evaluate it.
    """
    try:
        wcs = WCS(header, fix=False)
        place = wcs.all_pix2world([[1.0, 1.0]], 1)
    except (WcsError, ValueError, np.linalg.LinAlgError) as error:
        raise NoSolution(f"a WCS by SCAMP that cannot be evaluated: {error}") from error
    if not np.isfinite(place).all():
        raise NoSolution("a WCS by SCAMP that gives no finite places")
    return wcs


def wcs_cards(header: fits.Header) -> fits.Header:
    """Return the cards of the WCS alone, without what else SCAMP says in a `.head` file."""
    names = (*_NEEDED, "CUNIT1", "CUNIT2", "RADESYS")
    kept = fits.Header()
    kept.extend(card for card in header.cards if card.keyword in names or _DISTORTION.fullmatch(card.keyword))
    return kept


def write_ahead(path: Path, headers: Sequence[fits.Header]) -> None:
    """Write the headers that SCAMP shall start from; its rules of reading are those of `write_head`."""
    write_head(path, headers)


def write_head(path: Path, headers: Sequence[fits.Header]) -> None:
    """Write headers as SCAMP writes them: a card a line, ASCII, END after each chip."""
    blocks = ["\n".join([*(str(one).rstrip() for one in header.cards), "END", ""]) for header in headers]
    path.write_text("".join(blocks), encoding="ascii")


def tpv_header(plate: Plate, shape: tuple[int, int]) -> fits.Header:
    """Return the cards of a plate as SCAMP understands them: TPV where it is distorted, else TAN.

    SCAMP knows no SIP. The polynomial in pixels is rewritten as one in intermediate world coordinates, which
    it is as exactly (Shupe et al. 2012, Proc. SPIE 8451); no more than order 4.
    """
    header = fits.Header()
    kind = "TPV" if plate.order >= 2 else "TAN"
    header["CTYPE1"], header["CTYPE2"] = f"RA---{kind}", f"DEC--{kind}"
    header["CUNIT1"] = header["CUNIT2"] = "deg"
    header["CRVAL1"], header["CRVAL2"] = plate.ra0, plate.dec0
    header["CRPIX1"], header["CRPIX2"] = plate.x0 + 1.0, plate.y0 + 1.0
    for (row, column), value in np.ndenumerate(plate.cd):
        header[f"CD{row + 1}_{column + 1}"] = float(value)
    header["RADESYS"] = "ICRS"
    if plate.order >= 2:
        header.update(_tpv_terms(plate, shape))
    return header


def _tpv_terms(plate: Plate, shape: tuple[int, int]) -> dict[str, float]:
    ny, nx = shape
    y, x = (
        axis.ravel() for axis in np.meshgrid(np.linspace(0, ny - 1, _GRID), np.linspace(0, nx - 1, _GRID))
    )
    linear = plate.cd @ np.stack([x - plate.x0, y - plate.y0])
    plane = plate.plane(x, y)
    powers = [(k, term) for k, term in enumerate(_TPV_POWERS) if term and sum(term) <= plate.order]
    cards = {}
    for axis in (0, 1):
        own, other = linear[axis], linear[1 - axis]
        for (k, _), value in zip(powers, _coefficients(own, other, plane[axis], powers), strict=True):
            cards[f"PV{axis + 1}_{k}"] = float(value)
    return cards


def _coefficients(
    own: NDArray[np.float64],
    other: NDArray[np.float64],
    wanted: NDArray[np.float64],
    powers: Sequence[tuple[int, tuple[int, int]]],
) -> NDArray[np.float64]:
    unit = float(np.max(np.hypot(own, other)))
    design = np.column_stack([(own / unit) ** p * (other / unit) ** q for _, (p, q) in powers])
    solved = np.linalg.lstsq(design, wanted, rcond=None)[0]
    return np.asarray(solved / np.array([unit ** (p + q) for _, (p, q) in powers]), np.float64)


def _card(line: str, place: str) -> fits.Card:
    card = fits.Card.fromstring(line[:_CARD].ljust(_CARD))
    try:
        with warnings.catch_warnings():
            # what astropy only warns of is a card that was cut off
            warnings.simplefilter("error", AstropyWarning)
            keyword, value, comment = card.keyword, card.value, card.comment
            card.verify("exception")
    except (fits.VerifyError, AstropyWarning, ValueError) as error:
        raise NoSolution(f"{place}: {line.strip()[:_CARD]!r} is no FITS card") from error
    return fits.Card(keyword, value, comment)


def _checked(cards: fits.Header, place: str) -> fits.Header:
    missing = [key for key in _NEEDED if key not in cards]
    if missing:
        raise NoSolution(f"{place}: no card {', '.join(missing)}")
    for key in (key for key in cards if key in _NEEDED[2:] or _DISTORTION.fullmatch(key)):
        if isinstance(cards[key], str) or not math.isfinite(cards[key]):
            raise NoSolution(f"{place}: {key} = {cards[key]!r} is no finite number")
    kind = "TPV" if any(_DISTORTION.fullmatch(key) for key in cards) else "TAN"
    cards["CTYPE1"], cards["CTYPE2"] = f"RA---{kind}", f"DEC--{kind}"
    return cards
