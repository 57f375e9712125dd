"""Is a raw frame understood: which profile, which quantity from which keyword, and what is missing?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nightflow.doctor.finding import Finding, Level, fault, fine, warning
from nightflow.errors import NightflowError
from nightflow.instruments.fits_file import RawHeader, read_headers, select_hdus
from nightflow.instruments.header import FrameHeader, FrameKind
from nightflow.instruments.header_reader import HeaderReader
from nightflow.instruments.normalise import normalise
from nightflow.instruments.profile import CameraProfile
from nightflow.instruments.quantities import QUANTITIES
from nightflow.instruments.registry import recognise

__all__ = ["HeaderReport", "check_header"]

_LOSS = {
    "exptime": "needed: fluxes are per second",
    "kind": "needed: bias, dark, flat or light",
    "date_obs": "needed: a light curve has times",
    "filter": "flats of any filter would match, and no colour term can be had",
    "object": "the frame has no name; its target may be taken for a reference star",
    "ra": "no pointing hint: every frame is solved blind",
    "dec": "no pointing hint: every frame is solved blind",
    "gain": "errors are in unknown units: set [detector] gain in the profile",
    "read_noise": "errors of faint stars are too small: set [detector] read_noise in the profile",
    "saturation": "65535 is taken: set [detector] saturation in the profile if it is lower",
    "ccd_temp": "darks are not compared by temperature",
    "latitude": "no airmass and no barycentric time: set [site] in the profile",
    "longitude": "no airmass and no barycentric time: set [site] in the profile",
}
"""What follows where a quantity is missing; the others are not missed."""
_NEEDED = frozenset({"exptime", "kind", "date_obs"})
_WANTED_BY_LIGHTS = frozenset({"filter", "object", "ra", "dec", "latitude", "longitude"})
_IN_PLACE = {
    "date_obs": ("date_mid", "date_end"),
    "latitude": ("airmass",),
    "longitude": ("airmass",),
}
"""What does instead, as far as it goes."""


@dataclass(frozen=True, kw_only=True)
class HeaderReport:
    """What is understood of a file.

    Attributes
    ----------
    findings : tuple of Finding
        The profile, each quantity with the keyword that it comes from, each one that is missing.
    header : FrameHeader or None
        Of its first readout; None where it is not understood.
    """

    findings: tuple[Finding, ...]
    header: FrameHeader | None = None


def check_header(path: Path, profiles: Sequence[CameraProfile]) -> HeaderReport:
    """Read a raw frame's headers as a reduction would, and say where each quantity comes from.

    Parameters
    ----------
    path : Path
    profiles : sequence of CameraProfile
        As `nightflow.instruments.registry.load_profiles` gives them.
    """
    try:
        raw = read_headers(path)
    except NightflowError as error:
        return HeaderReport(findings=(fault("file", str(error), "this file would be rejected"),))
    try:
        profile = recognise([one.header for one in raw], profiles)
    except NightflowError as error:
        mend = "write a profile for this camera into the cameras folder (docs/cameras.md)"
        return HeaderReport(findings=(fault("camera", str(error), mend),))
    seen = fine("camera", f"{profile.name}: {profile.description}")
    try:
        one = _first_readout(path, raw, profile)
        header = _normalised(path, one, raw, profile)
    except NightflowError as error:
        reader = HeaderReader(raw[0].header, profile)
        mend = "mend the profile; a copy in the cameras folder wins over the one that comes with nightflow"
        return HeaderReport(
            findings=(seen, fault("header", str(error), mend), *_origins(reader, profile, None))
        )
    primary = raw[0].header if one.hdu != raw[0].hdu else None
    reader = HeaderReader(one.header, profile, primary)
    guesses = (warning("guess", text, "look whether this is so") for text in header.warnings)
    return HeaderReport(
        findings=(seen, _summary(header), *_origins(reader, profile, header), *guesses),
        header=header,
    )


def _first_readout(path: Path, raw: Sequence[RawHeader], profile: CameraProfile) -> RawHeader:
    images = {one.hdu: one for one in raw if one.shape}
    chosen = select_hdus(path, profile.hdus, [(hdu, one.name) for hdu, one in images.items()])
    return images[chosen[0]]


def _normalised(path: Path, one: RawHeader, raw: Sequence[RawHeader], profile: CameraProfile) -> FrameHeader:
    shape = (one.shape[0], one.shape[-1])
    return normalise(one.header, profile, hdu=one.hdu, shape=shape, primary_header=raw[0].header, path=path)


def _summary(header: FrameHeader) -> Finding:
    parts: list[Any] = [header.kind, header.object, header.filter, f"{header.exptime:g} s", header.date_obs]
    parts.append(f"{header.shape[1]} x {header.shape[0]} px")
    if header.airmass is not None:
        parts.append(f"airmass {header.airmass:.2f}")
    return fine("frame", ", ".join(str(part) for part in parts if part))


def _origins(reader: HeaderReader, profile: CameraProfile, header: FrameHeader | None) -> list[Finding]:
    found = (_origin(reader, profile, name, header) for name in QUANTITIES)
    return [finding for finding in found if finding is not None]


def _origin(
    reader: HeaderReader, profile: CameraProfile, name: str, header: FrameHeader | None
) -> Finding | None:
    discarded = (
        {text.partition(" discarded:")[0] for text in header.warnings} if header is not None else set()
    )
    found = next((one for one in reader.candidates(name) if f"{name}: {one.origin}" not in discarded), None)
    fixed = _fixed(profile, name)
    if fixed is not None:
        return fine(name, f"{fixed} (profile {profile.name})")
    if found is not None:
        return fine(name, found.origin)
    if name == "kind" and header is not None:
        return fine(name, f"{header.kind}, by the rules of profile {profile.name}")
    if not _is_missed(reader, name, header):
        return None
    # What a reduction cannot do without is a fault only where it did without in vain.
    is_fault = header is None and name in _NEEDED
    message, loss = f"missing: {reader.looked_for(name)}", _LOSS[name]
    mend = loss if "profile" in loss else f"{loss}; name its keyword in [keywords] of the profile"
    return Finding(subject=name, level=Level.FAULT if is_fault else Level.WARNING, message=message, mend=mend)


def _fixed(profile: CameraProfile, name: str) -> Any:
    """Return what the profile itself says of a quantity, where that wins over the header."""
    if name in ("gain", "read_noise", "saturation"):
        return getattr(profile.detector, name)
    if name in ("overscan", "trim"):
        return getattr(profile.detector, name)
    if name in ("latitude", "longitude", "height") and profile.site is not None:
        return getattr(profile.site, name)
    return None


def _is_missed(reader: HeaderReader, name: str, header: FrameHeader | None) -> bool:
    if name not in _LOSS or (name in _WANTED_BY_LIGHTS and not _is_wanted(name, header)):
        return False
    return not any(next(reader.candidates(other), None) for other in _IN_PLACE.get(name, ()))


def _is_wanted(name: str, header: FrameHeader | None) -> bool:
    if header is None:
        return False
    return header.kind is FrameKind.LIGHT or (name == "filter" and header.kind is FrameKind.FLAT)
