"""Raw FITS files: headers without pixels, and pixels as float32.

Takes ``.fits .fit .fts .FIT``, plain, gzip (``.gz``) or tile-compressed (``.fz``); the content decides, not
the name. A file is first walked over (`nightflow.instruments.fits_layout`), so that a truncated, senseless
or absurdly large one is refused before astropy sees it and before anything is allocated.
"""

from __future__ import annotations

import hashlib
import os
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyError
from astropy.utils.exceptions import AstropyWarning
from numpy.typing import NDArray

from nightflow.errors import FrameHeld, FrameRejected, RetryLater
from nightflow.file_names import as_named
from nightflow.instruments.data_sums import wrong_data_sums
from nightflow.instruments.fits_layout import Extent, Layout, LayoutState, walk
from nightflow.instruments.fits_source import (
    FileSource,
    is_absent,
    open_regular,
    open_source,
    os_errors,
)
from nightflow.instruments.image_size import oversize
from nightflow.instruments.pixels import check_pixels

__all__ = [
    "HduSelection",
    "RawHeader",
    "Readout",
    "check_pixels",
    "content_at",
    "content_hash",
    "is_there",
    "read_headers",
    "read_readouts",
    "select_hdus",
]

HduSelection = Literal["first", "all"] | Sequence[str | int]
"""Which image HDUs hold the readouts, as in `nightflow.instruments.profile.CameraProfile.hdus`."""

_FITS_FAULTS = (OSError, ValueError, TypeError, KeyError, IndexError, VerifyError, zlib.error)
"""What astropy raises for a malformed HDU. An `OSError` with an errno is the system's, and handled before."""


@dataclass(frozen=True, kw_only=True)
class RawHeader:
    """One HDU without its pixels.

    Attributes
    ----------
    hdu : int
        Index in the file.
    name : str
        EXTNAME, "PRIMARY" or "". Untrusted text.
    header : astropy.io.fits.Header
        As in the file, that of the uncompressed image where the HDU is a compressed one.
    shape : tuple of int
        (ny, nx) of the image; () where the HDU holds none.
    damage : str
        Why its data are not those that its header sums up; "" where they are, or no card says.
    """

    hdu: int
    name: str
    header: fits.Header = field(repr=False)
    shape: tuple[int, ...]
    damage: str = ""


@dataclass(frozen=True, kw_only=True)
class Readout:
    """One image HDU.

    Attributes
    ----------
    hdu : int
        Index in the file.
    name : str
        EXTNAME, "PRIMARY" or "". Untrusted text.
    header : astropy.io.fits.Header
        Of the uncompressed image.
    primary_header : astropy.io.fits.Header or None
        Of the file's first HDU, where that is another one: what holds for all readouts often stands there.
    data : ndarray of float32, shape (ny, nx)
        Counts with BZERO and BSCALE applied. 16-bit integers are exact.
    """

    hdu: int
    name: str
    header: fits.Header = field(repr=False)
    primary_header: fits.Header | None = field(repr=False, default=None)
    data: NDArray[np.float32] = field(repr=False)


def is_there(path: Path | str) -> bool:
    """Return whether a file can be reached now; on a disk that is away there is none."""
    return os.path.isfile(as_named(path))  # noqa: PTH113 - Path.is_file raises where a disk is away


def content_hash(path: Path) -> str:
    """Return the SHA-256 of the file's bytes, in hexadecimal.

    Raises
    ------
    RetryLater
        The file cannot be read.
    """
    with os_errors(path), open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_at(path: Path | str) -> str | None:
    """Return the hash of what lies at a path; "" where no file does, None where that cannot be told now."""
    try:
        return content_hash(Path(path))
    except FrameRejected:  # a folder
        return ""
    except RetryLater as error:
        return "" if is_absent(error) else None


def read_headers(path: Path, *, max_pixels: int | None = None) -> list[RawHeader]:
    """Return every HDU's header; pixels are only summed up, where a card says their sum.

    Parameters
    ----------
    path : Path
        The raw file.
    max_pixels : int, optional
        Of one image; a header that claims more is refused before its data is unpacked.

    Raises
    ------
    FrameRejected
        The file is empty, truncated, corrupt, no FITS file, without pixels, or too large.
    RetryLater
        The file cannot be opened or read.
    """
    with _opened(path, max_pixels) as (hdus, layout):
        damage = _damage(path, layout)
        return [
            RawHeader(
                hdu=extent.index,
                name=hdus[extent.index].name,
                header=_mended(hdus[extent.index].header),
                shape=extent.shape if extent.pixels else (),
                damage=damage.get(extent.index, ""),
            )
            for extent in layout.extents
        ]


def read_readouts(path: Path, hdus: HduSelection = "first") -> list[Readout]:
    """Return the image HDUs that hold the readouts.

    Parameters
    ----------
    path : Path
        The raw file.
    hdus : "first", "all", or sequence of str and int
        The first HDU with pixels, all of them, or those with these names or indices.

    Raises
    ------
    FrameRejected
        The file is empty, truncated, corrupt, no FITS file, without pixels, too large, or an image is not
        two-dimensional.
    FrameHeld
        ``hdus`` names one that the file does not have: the profile may be mended.
    RetryLater
        The file cannot be opened or read.
    """
    with _opened(path) as (opened, layout):
        primary = _mended(opened[0].header)
        extents = {extent.index: extent for extent in layout.images}
        chosen = select_hdus(path, hdus, [(index, opened[index].name) for index in extents])
        return [_readout(path, opened[index], extents[index], primary) for index in chosen]


def _damage(path: Path, layout: Layout) -> dict[int, str]:
    """Return what is wrong with the data of each HDU; of a gzip file nothing: it has its own check sum."""
    with open_source(path) as source:
        return wrong_data_sums(source.content(), layout) if isinstance(source, FileSource) else {}


@contextmanager
def _opened(path: Path, max_pixels: int | None = None) -> Iterator[tuple[fits.HDUList, Layout]]:
    """Walk over the file, refuse what is unusable, and open the rest with astropy."""
    with open_source(path, keep=True) as source:
        layout = walk(
            source,
            maximum_size=source.maximum_size,
            objection=lambda extent: oversize(extent, max_pixels),
        )
        if layout.state is LayoutState.WHOLE:
            source.drain()
        _refuse(path, layout, source.fault)
        try:
            with (
                _quiet_astropy(),
                fits.open(source.content(), mode="readonly", memmap=False, uint=True) as hdus,
            ):
                _refuse_corrupt(path, hdus, layout)
                yield hdus, layout
        except _FITS_FAULTS as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise FrameRejected(f"{path}: corrupt FITS file: {type(error).__name__}: {error}") from error


@contextmanager
def _quiet_astropy() -> Iterator[None]:
    """Silence what astropy says of headers that are odd but readable; every raw night has some."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        yield


def _mended(header: fits.Header) -> fits.Header:
    """Return a copy in which values that FITS does not allow (a time without quotes) are text."""
    mended = header.copy()
    for card in mended.cards:
        card.verify("silentfix+ignore")
    return mended


def _refuse(path: Path, layout: Layout, stream_fault: str) -> None:
    if layout.state is LayoutState.HEADER_CUT and layout.present == 0:
        reason = stream_fault or "empty file"
    elif stream_fault:
        reason = stream_fault if layout.state is LayoutState.WHOLE else f"{layout.reason} ({stream_fault})"
    else:
        reason = layout.reason
    if reason:
        raise FrameRejected(f"{path}: {reason}")
    if not layout.images:
        raise FrameRejected(f"{path}: no pixels in any of its {len(layout.extents)} HDUs")


def _refuse_corrupt(path: Path, hdus: fits.HDUList, layout: Layout) -> None:
    for extent in layout.images:
        if not getattr(hdus[extent.index], "is_image", False):
            raise FrameRejected(f"{path}: corrupt FITS file: the header of HDU {extent.index} cannot be read")


def select_hdus(path: Path, hdus: HduSelection, images: Sequence[tuple[int, str]]) -> list[int]:
    """Return the indices of the image HDUs that hold the readouts.

    Parameters
    ----------
    path : Path
        For the message.
    hdus : "first", "all", or sequence of str and int
        As for `read_readouts`.
    images : sequence of (int, str)
        Index and name of each HDU with pixels, at least one.

    Raises
    ------
    FrameHeld
        ``hdus`` names one that the file does not have: the profile may be mended.
    """
    if hdus == "first":
        return [images[0][0]]
    if hdus == "all":
        return [index for index, _ in images]
    return [_named(path, wanted, images) for wanted in hdus]


def _named(path: Path, wanted: str | int, images: Sequence[tuple[int, str]]) -> int:
    for index, name in images:
        if wanted == index or (isinstance(wanted, str) and wanted.upper() == name.upper()):
            return index
    here = ", ".join(f"{index} {name[:20]!r}" for index, name in images[:20])
    raise FrameHeld(
        f"{path}: the camera profile's hdus name {wanted!r}; the image HDUs here are {here}: mend the profile"
    )


def _readout(path: Path, hdu: Any, extent: Extent, primary: fits.Header) -> Readout:
    shape = _image_shape(path, extent)
    pixels = _unpacked(path, hdu, extent)
    with np.errstate(over="ignore", invalid="ignore"):
        data = pixels.reshape(shape).astype(np.float32)
    return Readout(
        hdu=extent.index,
        name=hdu.name,
        header=_mended(hdu.header),
        primary_header=None if extent.index == 0 else primary,
        data=data,
    )


def _unpacked(path: Path, hdu: Any, extent: Extent) -> NDArray[Any]:
    try:
        return np.asarray(hdu.data)
    except MemoryError:
        raise
    except Exception as error:
        # The tile decompressor raises an exception class of its own that astropy does not export.
        if extent.extension == "" or isinstance(error, OSError):
            raise
        raise FrameRejected(f"{path}: corrupt FITS file: HDU {extent.index}: {error}") from error


def _image_shape(path: Path, extent: Extent) -> tuple[int, int]:
    if len(extent.shape) != 2:
        raise FrameRejected(
            f"{path}: HDU {extent.index}: an image of {len(extent.shape)} axes "
            f"({' x '.join(str(length) for length in extent.axes)}); a readout has two"
        )
    return extent.shape[0], extent.shape[1]
