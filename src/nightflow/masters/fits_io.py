"""Masters as FITS files: pixels, uncertainty, flags, inputs and the keys by which they are chosen.

The first four HDUs are readable by `astropy.nddata.CCDData`. Pixels are plain float32 without scaling, so
that the file can be memory-mapped; checksums tell a damaged file.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning
from numpy.typing import NDArray

from nightflow.detector.master_frame import InputFile, MasterFrame, MasterStatistics, PhotonTransfer
from nightflow.errors import MissingCalibration
from nightflow.fits_output import card, printable, replacing
from nightflow.flags import UNUSABLE
from nightflow.instruments.fits_file import is_there
from nightflow.instruments.header import FrameHeader, FrameKind

__all__ = ["CorruptMaster", "read_master", "write_master"]

FORMAT = 1


class CorruptMaster(MissingCalibration):
    """A master's file is damaged or no master; the mend is to delete it and have it built again."""


_CARDS: dict[str, tuple[str, str]] = {
    "NFKIND": ("kind", "what the master is for"),
    "NFCAMERA": ("instrument", "camera profile"),
    "NFDETECT": ("detector", "chip of the camera"),
    "FILTER": ("filter", ""),
    "EXPTIME": ("exptime", "[s] of one input"),
    "MJD-AVG": ("mjd_mid", "[d] UTC, mean of the inputs"),
    "GAIN": ("gain", "[electron/adu]"),
    "GAINKNWN": ("gain_known", "whether the gain can be trusted"),
    "RDNOISE": ("read_noise", "[electron]"),
    "GAINSET": ("gain_setting", "as in the inputs"),
    "READMODE": ("readout_mode", "as in the inputs"),
    "CCD-TEMP": ("ccd_temp", "[Celsius] mean of the inputs"),
    "ROTATOR": ("rotator", "[deg] of the first input"),
    "BIASINCL": ("bias_included", "counts still hold the bias"),
    "BAYERPAT": ("bayer", "colour filter mosaic"),
}
"""Keyword -> (field of `FrameHeader`, comment)."""

_MEASURED: dict[str, tuple[str, str]] = {
    "NFRON": ("read_noise", "[adu] measured on the biases"),
    "NFRONERR": ("read_noise_err", "[adu]"),
    "NFGAIN": ("gain", "[electron/adu] measured on the flats"),
    "NFGAINER": ("gain_err", "[electron/adu]"),
}
"""Keyword -> (field of `PhotonTransfer`, comment)."""

_MADE_WITH = {"bias": "NFWBIAS", "dark": "NFWDARK", "flat": "NFWFLAT", "illumination": "NFWILLUM"}
"""Kind -> keyword of the fingerprint of the master that was taken off the inputs."""

_PAIRS: dict[tuple[str, str], str] = {("XBINNING", "YBINNING"): "binning", ("RAWNY", "RAWNX"): "shape"}


def write_master(path: Path, master: MasterFrame) -> None:
    """Write a master under a temporary name, then rename it.

    Parameters
    ----------
    path : Path
        Chosen by the caller, never out of a header's text.
    master : MasterFrame

    Raises
    ------
    OSError
        The folder cannot be written to, or the disk is full.
    """
    planes = fits.HDUList(
        [
            fits.PrimaryHDU(np.asarray(master.data, np.float32), _header(master)),
            fits.ImageHDU(((master.flags & int(UNUSABLE)) != 0).astype(np.uint8), name="MASK"),
            fits.ImageHDU(np.asarray(master.uncertainty, np.float32), _uncertainty_header(), name="UNCERT"),
            fits.ImageHDU(master.flags.astype(np.int16), name="FLAGS"),
            _text_table(
                "INPUTS",
                ("name", "sha256", "dropped"),
                [(i.name, i.sha256, i.dropped) for i in master.inputs],
            ),
            _text_table("LOG", ("kind", "text"), _log(master)),
        ]
    )
    with replacing(path) as temporary:
        planes.writeto(temporary, overwrite=True, checksum=True)


def read_master(path: Path, *, memmap: bool = False) -> MasterFrame:
    """Read a master.

    Parameters
    ----------
    path : Path
    memmap : bool
        Leave the pixels in the page cache, in the file's big-endian order, shared with other processes
        and read when used. By default they are read and put into the machine's order.

    Raises
    ------
    CorruptMaster
        The file is truncated, damaged, or no master of this format.
    OSError
        There is no such file, or it cannot be read.
    """
    if not is_there(path):
        raise FileNotFoundError(f"{path}: no such master")
    try:
        with warnings.catch_warnings(record=True) as caught, path.open("rb") as file:
            warnings.simplefilter("always")
            with fits.open(file, memmap=memmap, checksum=True, lazy_load_hdus=False) as hdus:
                master = _from_hdus(hdus, memmap)
        _refuse_doubts(caught)
    except (OSError, KeyError, IndexError, TypeError, ValueError) as error:
        raise CorruptMaster(
            f"{path}: not a readable master: {error}; delete it, and it is built again"
        ) from error
    return master


def _refuse_doubts(caught: list[warnings.WarningMessage]) -> None:
    """Raise what is no more than a warning to astropy: a failed checksum, a file that ends too early."""
    for warning in caught:
        if issubclass(warning.category, AstropyUserWarning):
            raise ValueError(str(warning.message))


def _header(master: MasterFrame) -> fits.Header:
    header = fits.Header()
    header["NFFORMAT"] = (FORMAT, "version of nightflow's layout of masters")
    header["BUNIT"] = "" if master.kind == FrameKind.FLAT else "adu"
    for keyword, (name, comment) in _CARDS.items():
        value = getattr(master.header, name)
        if value is not None:
            fitting = card(keyword, value, comment)
            header[keyword] = (fitting.value, fitting.comment)
    for keywords, name in _PAIRS.items():
        for keyword, value in zip(keywords, getattr(master.header, name), strict=True):
            header[keyword] = value
    header["NFPRINT"] = master.fingerprint
    for field in fields(MasterStatistics):
        header[f"NF{field.name[:6].upper()}"] = (getattr(master.statistics, field.name), "statistics")
    for keyword, (name, comment) in _MEASURED.items():
        value = getattr(master.photon_transfer, name, None)
        if value is not None:
            header[keyword] = (value, comment)
    for kind, keyword in _MADE_WITH.items():
        if kind in master.made_with:
            header[keyword] = (master.made_with[kind], "")
    for line in master.history:
        header.add_history(printable(line))
    return header


def _uncertainty_header() -> fits.Header:
    return fits.Header([("UTYPE", "StdDevUncertainty", "one standard deviation")])


def _log(master: MasterFrame) -> list[tuple[str, str]]:
    """Return history and warnings as rows: cards would cut long lines into pieces."""
    return [("history", line) for line in master.history] + [("warning", line) for line in master.warnings]


def _text_table(name: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> fits.BinTableHDU:
    texts = {column: [printable(row[n]) for row in rows] for n, column in enumerate(columns)}
    return fits.BinTableHDU.from_columns(
        [
            fits.Column(column, f"{max([1, *map(len, values)])}A", array=np.array(values, "S"))
            for column, values in texts.items()
        ],
        nrows=len(rows),
        name=name,
    )


def _from_hdus(hdus: fits.HDUList, memmap: bool) -> MasterFrame:
    header = hdus[0].header
    if header["NFFORMAT"] != FORMAT:
        raise ValueError(f"NFFORMAT = {header['NFFORMAT']!r}, {FORMAT} expected")
    data, uncertainty = _plane(hdus[0], memmap), _plane(hdus["UNCERT"], memmap)
    flags = hdus["FLAGS"].data.astype(np.uint16)
    if not data.shape == uncertainty.shape == flags.shape:
        raise ValueError(f"planes of {data.shape}, {uncertainty.shape} and {flags.shape}")
    return MasterFrame(
        header=_frame_header(header),
        data=data,
        uncertainty=uncertainty,
        flags=flags,
        inputs=_inputs(hdus["INPUTS"].data),
        fingerprint=str(header["NFPRINT"]),
        statistics=MasterStatistics(
            **{f.name: float(header[f"NF{f.name[:6].upper()}"]) for f in fields(MasterStatistics)}
        ),
        photon_transfer=_photon_transfer(header),
        made_with={kind: str(header[key]) for kind, key in _MADE_WITH.items() if key in header},
        history=_logged(hdus["LOG"].data, "history"),
        warnings=_logged(hdus["LOG"].data, "warning"),
    )


def _photon_transfer(header: fits.Header) -> PhotonTransfer | None:
    found = {name: float(header[keyword]) for keyword, (name, _) in _MEASURED.items() if keyword in header}
    return PhotonTransfer(**found) if found else None


def _plane(hdu: Any, memmap: bool) -> NDArray[np.float32]:
    if hdu.data is None or hdu.data.ndim != 2 or hdu.data.dtype.kind != "f":
        raise ValueError(f"HDU {hdu.name} holds no image of floats")
    plane: NDArray[np.float32] = hdu.data if memmap else hdu.data.astype(np.float32)
    return plane


def _frame_header(header: fits.Header) -> FrameHeader:
    values = {name: header[keyword] for keyword, (name, _) in _CARDS.items() if keyword in header}
    pairs = {name: tuple(int(header[keyword]) for keyword in keys) for keys, name in _PAIRS.items()}
    return FrameHeader(**{**values, **pairs, "kind": FrameKind(values["kind"])})


def _inputs(table: Any) -> tuple[InputFile, ...]:
    return tuple(
        InputFile(name=str(row["name"]), sha256=str(row["sha256"]), dropped=str(row["dropped"]))
        for row in table
    )


def _logged(table: Any, kind: str) -> tuple[str, ...]:
    return tuple(str(row["text"]) for row in table if str(row["kind"]) == kind)
