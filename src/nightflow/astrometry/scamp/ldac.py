"""FITS_LDAC catalogues: what source-extractor writes and SCAMP reads.

A catalogue is an empty primary HDU, then for each chip a table LDAC_IMHEAD, whose one cell is the header of
the image, and a table LDAC_OBJECTS. The bytes of LDAC_IMHEAD are laid out here: astropy ends the cell with
NUL, on which SCAMP crashes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from nightflow.catalogs.stars import ReferenceStars
from nightflow.errors import NoSolution
from nightflow.fits_output import card, printable

__all__ = ["Detections", "LdacChip", "chip_header", "read_ldac", "write_ldac", "write_reference"]

Array = NDArray[np.float64]
_Columns = Mapping[str, tuple[NDArray[Any], str]]
"""Name -> values and unit."""

_CARD, _BLOCK = 80, 2880
_UNKNOWN_ERROR = 0.1
"""Arcsec that a reference star of unknown error may be off along each axis."""


@dataclass(frozen=True, kw_only=True)
class Detections:
    """Stars of one chip as SCAMP wants them; columns of equal length n.

    Attributes
    ----------
    x, y : ndarray, shape (n,)
        0-based pixels.
    error : ndarray, shape (n,)
        1-sigma error of each coordinate, pixels.
    flux, flux_err : ndarray, shape (n,)
        In any unit.
    flags : ndarray of int, shape (n,)
        source-extractor's bits; 4 is saturated.
    """

    x: Array
    y: Array
    error: Array
    flux: Array
    flux_err: Array
    flags: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Detections:
        """Return the rows selected by a mask or by indices."""
        return Detections(**{name: values[rows] for name, values in vars(self).items()})


@dataclass(frozen=True, kw_only=True)
class LdacChip:
    """A chip's part of a catalogue.

    Attributes
    ----------
    header : astropy.io.fits.Header
        Of its image.
    stars : Detections
    sky : tuple of ndarray, shape (n,), or None
        ICRS degrees of the stars, written as ALPHAWIN_J2000 and DELTAWIN_J2000.
    """

    header: fits.Header
    stars: Detections
    sky: tuple[Array, Array] | None = None


def chip_header(
    shape: tuple[int, int],
    wcs: fits.Header,
    *,
    name: str,
    exptime: float,
    filter_name: str,
    mjd: float,
    instrument: str = "",
) -> fits.Header:
    """Return the header that SCAMP reads of a chip: size, WCS, exposure, filter, time.

    Parameters
    ----------
    shape : tuple of int
        (ny, nx).
    wcs : astropy.io.fits.Header
        Cards of the WCS to start from, see `nightflow.astrometry.scamp.headers.tpv_header`.
    name : str
        Of the chip; text of a header, written with what FITS cannot hold as question marks.
    exptime : float
        Seconds.
    mjd : float
        UTC, middle of the exposure.
    instrument : str
        Frames of one instrument may share a distortion.
    """
    header = fits.Header()
    for keyword, value in (
        ("SIMPLE", True),
        ("BITPIX", -32),
        ("NAXIS", 2),
        ("NAXIS1", shape[1]),
        ("NAXIS2", shape[0]),
        ("EXTNAME", printable(name)[:60]),
        ("EXPTIME", exptime),
        ("FILTER", printable(filter_name)[:60] or "none"),
        ("QRUNID", printable(instrument)[:60] or "none"),
        ("MJD-OBS", mjd),
    ):
        header.append(card(keyword, value), end=True)
    header.update(wcs)
    return header


def write_ldac(path: Path, chips: Sequence[LdacChip]) -> None:
    """Write the catalogue of an exposure: one pair of tables a chip, in this order."""
    with path.open("wb") as file:
        file.write(_primary())
        for chip in chips:
            file.write(_image_header(chip.header))
            file.write(_table(_star_columns(chip), "LDAC_OBJECTS"))


def write_reference(path: Path, stars: ReferenceStars, *, error: float = _UNKNOWN_ERROR) -> None:
    """Write reference stars, which are at the epoch of the frames already, as a catalogue for SCAMP.

    Stars of unknown brightness are left out.

    Parameters
    ----------
    error : float
        1-sigma error of each coordinate, arcsec; local catalogues do not keep those of the single stars.
    """
    known = stars.take(np.isfinite(stars.brightness()))
    error_deg = np.full(len(known), error / 3600.0, np.float32)
    columns: _Columns = {
        "X_WORLD": (known.ra, "deg"),
        "Y_WORLD": (known.dec, "deg"),
        "ERRA_WORLD": (error_deg, "deg"),
        "ERRB_WORLD": (error_deg, "deg"),
        "ERRTHETA_WORLD": (np.zeros(len(known), np.float32), "deg"),
        "MAG": (known.brightness().astype(np.float32), "mag"),
        "MAGERR": (np.full(len(known), 0.01, np.float32), "mag"),
        "OBSDATE": (np.full(len(known), known.epoch), "yr"),
    }
    header = fits.Header([("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 0)])
    path.write_bytes(_primary() + _image_header(header) + _table(columns, "LDAC_OBJECTS"))


def read_ldac(path: Path) -> list[LdacChip]:
    """Read a catalogue that source-extractor or `write_ldac` wrote.

    Raises
    ------
    NoSolution
        It is no such catalogue, or lacks a column; the message names file and lack.
    """
    try:
        with fits.open(path, memmap=False) as hdus:
            heads = [hdu for hdu in hdus if hdu.name == "LDAC_IMHEAD"]
            tables = [hdu for hdu in hdus if hdu.name == "LDAC_OBJECTS"]
            if not tables or len(heads) != len(tables):
                raise NoSolution(
                    f"{path.name}: {len(heads)} tables LDAC_IMHEAD and {len(tables)} LDAC_OBJECTS: "
                    "no FITS_LDAC catalogue"
                )
            return [
                LdacChip(header=_header_in(head), stars=_detections(table.data, path))
                for head, table in zip(heads, tables, strict=True)
            ]
    except (OSError, ValueError, TypeError) as error:
        raise NoSolution(f"{path.name}: no readable FITS_LDAC catalogue: {error}") from error


def _star_columns(chip: LdacChip) -> _Columns:
    stars = chip.stars
    with np.errstate(divide="ignore", invalid="ignore"):
        magnitude = np.where(stars.flux > 0, -2.5 * np.log10(stars.flux), 99.0)
        relative = np.where(stars.flux > 0, stars.flux_err / stars.flux, 99.0)
    error = stars.error.astype(np.float32)
    columns: _Columns = {
        "NUMBER": (np.arange(1, len(stars) + 1, dtype=np.int32), ""),
        # FITS pixels: the first is 1
        "XWIN_IMAGE": (stars.x + 1.0, "pixel"),
        "YWIN_IMAGE": (stars.y + 1.0, "pixel"),
        "ERRAWIN_IMAGE": (error, "pixel"),
        "ERRBWIN_IMAGE": (error, "pixel"),
        "ERRTHETAWIN_IMAGE": (np.zeros(len(stars), np.float32), "deg"),
        "FLUX_AUTO": (stars.flux.astype(np.float32), "count"),
        "FLUXERR_AUTO": (stars.flux_err.astype(np.float32), "count"),
        "MAG_AUTO": (magnitude.astype(np.float32), "mag"),
        "MAGERR_AUTO": ((1.0857 * relative).astype(np.float32), "mag"),
        "FLAGS": (stars.flags.astype(np.int16), ""),
    }
    if chip.sky is None:
        return columns
    ra, dec = chip.sky
    return {**columns, "ALPHAWIN_J2000": (ra, "deg"), "DELTAWIN_J2000": (dec, "deg")}


def _detections(rows: fits.FITS_rec, path: Path) -> Detections:
    needed = ("XWIN_IMAGE", "YWIN_IMAGE", "ERRAWIN_IMAGE", "ERRBWIN_IMAGE", "FLUX_AUTO", "FLUXERR_AUTO")
    missing = [name for name in (*needed, "FLAGS") if name not in rows.names]
    if missing:
        raise NoSolution(
            f"{path.name}: no column {', '.join(missing)}; add it to source-extractor's parameters"
        )
    x, y, error_a, error_b, flux, flux_err = (np.asarray(rows[name], np.float64) for name in needed)
    return Detections(
        x=x - 1.0,
        y=y - 1.0,
        error=np.sqrt(0.5 * (error_a**2 + error_b**2)),
        flux=flux,
        flux_err=flux_err,
        flags=np.asarray(rows["FLAGS"], np.int16),
    )


def _header_in(table: fits.BinTableHDU) -> fits.Header:
    """Return the header that a table LDAC_IMHEAD holds, whoever padded it and with what."""
    cells = np.asarray(table.data.field(0)).ravel()
    # an array of cards where TDIM says so, else one text
    text = "".join(str(cell).ljust(_CARD) for cell in cells).replace("\0", " ")
    cards = [text[start : start + _CARD].ljust(_CARD) for start in range(0, len(text), _CARD)]
    return fits.Header.fromstring("".join(one for one in cards if one.strip() and one.split() != ["END"]))


def _primary() -> bytes:
    return _header_bytes(fits.Header([("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 0), ("EXTEND", True)]))


def _image_header(header: fits.Header) -> bytes:
    """Return the HDU LDAC_IMHEAD: one row that holds all cards and END, padded with spaces."""
    cell = _header_bytes(header)
    frame = _table_header("LDAC_IMHEAD", len(cell), 1, [("Field Header Card", f"{len(cell)}A", "")])
    frame["TDIM1"] = f"({_CARD}, {len(cell) // _CARD})"
    return _header_bytes(frame) + _padded(cell, b"\0")


def _table(columns: _Columns, name: str) -> bytes:
    """Return the HDU of a table of plain columns."""
    formats = {"f8": "1D", "f4": "1E", "i4": "1J", "i2": "1I"}
    layout = np.dtype([(key, ">" + values.dtype.str[1:]) for key, (values, _) in columns.items()])
    rows = np.empty(len(next(iter(columns.values()))[0]), layout)
    for key, (values, _) in columns.items():
        rows[key] = values
    described = [(key, formats[values.dtype.str[1:]], unit) for key, (values, unit) in columns.items()]
    header = _table_header(name, layout.itemsize, len(rows), described)
    return _header_bytes(header) + _padded(rows.tobytes(), b"\0")


def _table_header(name: str, width: int, n_rows: int, columns: Sequence[tuple[str, str, str]]) -> fits.Header:
    header = fits.Header(
        [
            ("XTENSION", "BINTABLE"),
            ("BITPIX", 8),
            ("NAXIS", 2),
            ("NAXIS1", width),
            ("NAXIS2", n_rows),
            ("PCOUNT", 0),
            ("GCOUNT", 1),
            ("TFIELDS", len(columns)),
            ("EXTNAME", name),
        ]
    )
    for number, (key, form, unit) in enumerate(columns, start=1):
        header[f"TTYPE{number}"], header[f"TFORM{number}"] = key, form
        if unit:
            header[f"TUNIT{number}"] = unit
    return header


def _header_bytes(header: fits.Header) -> bytes:
    return header.tostring().encode("ascii")


def _padded(content: bytes, filling: bytes) -> bytes:
    return content + filling * (-len(content) % _BLOCK)
