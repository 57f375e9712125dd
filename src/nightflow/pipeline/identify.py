"""What a raw file is: its camera, its readouts, their normalised headers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from astropy.io import fits

from nightflow.errors import FrameHeld, FrameRejected
from nightflow.frame import Frame
from nightflow.instruments.chips import join_chips, stack_pixels
from nightflow.instruments.fits_file import (
    HduSelection,
    RawHeader,
    check_pixels,
    read_headers,
    read_readouts,
    select_hdus,
)
from nightflow.instruments.header import FrameHeader, FrameKind
from nightflow.instruments.normalise import normalise
from nightflow.instruments.own_product import OF_PLANES, is_own_product
from nightflow.instruments.profile import CameraProfile
from nightflow.instruments.registry import recognise
from nightflow.products.own_planes import with_own_planes
from nightflow.store.models import Frame as FrameRow

__all__ = [
    "Identified",
    "check_calibration",
    "identify_file",
    "read_frame",
    "tags_of",
    "with_names_of_their_own",
]


@dataclass(frozen=True, kw_only=True)
class Identified:
    """A raw file that was recognised.

    Attributes
    ----------
    profile : CameraProfile
    headers : tuple of FrameHeader
        One a chip.
    kind : FrameKind
        Of all chips.
    title : str
        File, object and filter, for people.
    """

    profile: CameraProfile
    headers: tuple[FrameHeader, ...]
    kind: FrameKind
    title: str


def identify_file(
    path: Path, profiles: Sequence[CameraProfile], *, max_pixels: int | None = None
) -> Identified:
    """Recognise a file by its headers; no pixel is read.

    Parameters
    ----------
    path : Path
    profiles : sequence of CameraProfile
        Those that are looked at.
    max_pixels : int, optional
        Of one image, as in the settings.

    Raises
    ------
    FrameRejected
        The file is unusable.
    FrameHeld
        No profile fits, or the header lacks what the camera needs.
    RetryLater
        The file cannot be read now.
    """
    raw = read_headers(path, max_pixels=max_pixels)
    profile = _recognised(path, raw, profiles)
    primary = raw[0].header
    images = {one.hdu: one for one in raw if one.shape}
    chosen = select_hdus(path, *_readouts(raw, profile))
    readouts = [_normalised(path, images[hdu], profile, primary) for hdu in chosen]
    headers = with_names_of_their_own(_chips(path, readouts, profile))
    kind = headers[0].kind
    parts = [path.name, headers[0].object or str(kind), headers[0].filter]
    return Identified(
        profile=profile, headers=headers, kind=kind, title=" ".join(part for part in parts if part)
    )


_FILTERED = (FrameKind.LIGHT, FrameKind.FLAT)
"""A bias or a dark may name the filter that happened to be in place."""


def tags_of(frames: Sequence[FrameRow]) -> tuple[str, ...]:
    """Return by what people look for an exposure: camera, kind, filter and night, as far as they are known.

    The name before each says what it is, and keeps header text from passing for another tag.
    """
    named = [
        (name, str(value))
        for frame in frames
        for name, value in (
            ("camera", frame.instrument),
            ("kind", frame.kind),
            ("filter", frame.filter if frame.kind in _FILTERED else ""),
            ("night", frame.night),
        )
        if value
    ]
    return tuple(dict.fromkeys(f"{name}:{value}" for name, value in named))


_COMPANIONS = frozenset({"MASK", "UNCERT", "FLAGS", "BPM", "DQ", "ERR", "VAR"})
"""Names of HDUs that other programs, and nightflow, write beside the pixels that they have calibrated."""


def _readouts(raw: Sequence[RawHeader], profile: CameraProfile) -> tuple[HduSelection, list[tuple[int, str]]]:
    """Return which HDUs are readouts, as `select_hdus` wants it: no plane that stands beside another one."""
    images = [(one.hdu, one.name) for one in raw if one.shape]
    own = [one for one in images if one[1].upper() not in _COMPANIONS]
    product = is_own_product([one.header for one in raw])
    return ("first" if product else profile.hdus), own or images


def _recognised(path: Path, raw: Sequence[RawHeader], profiles: Sequence[CameraProfile]) -> CameraProfile:
    try:
        return recognise([header.header for header in raw], profiles)
    except FrameHeld as error:
        raise FrameHeld(f"{path}: {error}") from error


def _normalised(path: Path, raw: RawHeader, profile: CameraProfile, primary: fits.Header) -> FrameHeader:
    if len(raw.shape) != 2:
        raise FrameRejected(f"{path}: HDU {raw.hdu}: an image of {len(raw.shape)} axes; a readout has two")
    shape = (raw.shape[0], raw.shape[1])
    header = normalise(raw.header, profile, hdu=raw.hdu, shape=shape, primary_header=primary, path=path)
    return replace(header, warnings=(*header.warnings, raw.damage)) if raw.damage else header


def _chips(path: Path, readouts: Sequence[FrameHeader], profile: CameraProfile) -> tuple[FrameHeader, ...]:
    try:
        return join_chips(readouts, profile)
    except FrameHeld as error:
        raise FrameHeld(f"{path}: camera {profile.name}: {error}") from error


def with_names_of_their_own(headers: tuple[FrameHeader, ...]) -> tuple[FrameHeader, ...]:
    """Return the headers with a detector's name for each: the HDU's number where several share one.

    The name comes from the file; two chips of one name would overwrite each other in the ledger.
    """
    names = Counter(header.detector for header in headers)
    return tuple(
        header
        if names[header.detector] == 1
        else replace(
            header,
            detector=f"hdu{header.hdu}",
            warnings=(
                *header.warnings,
                f"{names[header.detector]} chips call themselves {header.detector!r}: named by number",
            ),
        )
        for header in headers
    )


def check_calibration(path: Path, identified: Identified) -> None:
    """Refuse a calibration frame whose pixels hold nothing, before a master is made of it.

    Raises
    ------
    FrameRejected
        Not one pixel is finite, or all are equal.
    """
    for readout in read_readouts(path, [hdu for header in identified.headers for hdu in header.hdus]):
        check_pixels(readout.data, path, readout.hdu)


def read_frame(path: Path, header: FrameHeader) -> Frame:
    """Read the pixels of one chip, from all HDUs that hold them; of a product its noise and flags, too.

    Raises
    ------
    FrameRejected
        The file is unusable, or the pixels of an HDU hold nothing.
    RetryLater
        The file cannot be read now.
    """
    readouts = read_readouts(path, header.hdus)
    for readout in readouts:
        check_pixels(readout.data, path, readout.hdu)
    frame = Frame(
        data=stack_pixels([readout.data for readout in readouts]),
        unit="adu",
        header=header,
        raw_header=readouts[0].header,
        warnings=header.warnings,
    )
    return with_own_planes(frame, path) if set(OF_PLANES) <= set(header.steps_done) else frame
