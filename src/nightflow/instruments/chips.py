"""From HDUs to chips: which of a file's HDUs are one chip, and where each amplifier's pixels lie in it.

The array of a chip that is spread over several HDUs is those HDUs one above the other, in the order of the
file (`stack_pixels`); the regions of its amplifiers are moved along. After the detector step ``trim`` it is a
chip like any other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nightflow.errors import FrameHeld
from nightflow.instruments.amplifier_settings import AmplifierSettings, setting_for
from nightflow.instruments.amplifiers import (
    CORNERS,
    Amplifier,
    Region,
    chip_shape,
    overlapping,
    region_shape,
    shifted,
)
from nightflow.instruments.header import FrameHeader
from nightflow.instruments.profile import CameraProfile
from nightflow.instruments.values import parse_oriented_section, parse_section

__all__ = ["join_chips", "stack_pixels"]

SPARSEST = 2
"""Pixels of a chip, gaps included, for each that is read; beyond that it is not one chip."""

_Group = Sequence[FrameHeader]


def join_chips(headers: _Group, profile: CameraProfile) -> tuple[FrameHeader, ...]:
    """Return one header a chip for those of a file's HDUs.

    Parameters
    ----------
    headers : sequence of FrameHeader
        One an HDU, in the order of the file; see `nightflow.instruments.normalise.normalise`.
    profile : CameraProfile
        Its ``detector.amplifiers`` decides; without any, and where another program has put the chips
        together, every HDU is a chip.

    Raises
    ------
    FrameHeld
        The HDUs are not those that the profile speaks of, or their sections do not make a chip: the profile
        may be mended.
    """
    together = all("trim" in header.steps_done for header in headers)
    if not profile.detector.amplifiers or together:
        return tuple(headers)
    return tuple(_chip(group, profile) for group in _groups(headers, profile))


def stack_pixels(planes: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the planes of one chip's HDUs one above the other, as the regions of `join_chips` expect them.

    Narrow ones are filled up with zeros, which belong to no amplifier.

    Returns
    -------
    ndarray of float32, shape (sum of ny, largest nx)
    """
    if len(planes) == 1:
        return planes[0]
    stack = np.zeros(_stacked_shape([(plane.shape[0], plane.shape[1]) for plane in planes]), np.float32)
    row = 0
    for plane in planes:
        stack[row : row + plane.shape[0], : plane.shape[1]] = plane
        row += plane.shape[0]
    return stack


def _stacked_shape(shapes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return sum(ny for ny, _ in shapes), max(nx for _, nx in shapes)


def _groups(headers: _Group, profile: CameraProfile) -> list[_Group]:
    settings = profile.detector
    size = settings.hdus_per_chip
    if not size and settings.amplifiers != "header":
        size = max(table.hdu for table in settings.amplifiers)
    if not size:
        names = dict.fromkeys(header.detector for header in headers)
        return [[header for header in headers if header.detector == name] for name in names]
    if len(headers) % size:
        raise FrameHeld(
            f"{len(headers)} HDUs with pixels are no whole number of chips of {size} HDUs each; "
            "mend hdus, detector.hdus_per_chip or detector.amplifiers of the profile"
        )
    return [headers[start : start + size] for start in range(0, len(headers), size)]


def _chip(group: _Group, profile: CameraProfile) -> FrameHeader:
    first = group[0]
    described = [amplifier for header in group for amplifier in header.amplifiers]
    if profile.detector.amplifiers == "header":
        if len(group) == 1 and not any(one.flip_x or one.flip_y for one in described):
            return replace(first, amplifiers=())  # one amplifier that reads forwards: nothing to be joined
        amplifiers = _placed(group)
    else:
        amplifiers = [
            _from_table(table, group)
            for table in profile.detector.amplifiers
            if table.detector in ("", first.detector)
        ]
    if not amplifiers:
        raise FrameHeld(f"detector.amplifiers has none for the chip {first.detector!r}; add its tables")
    _check_crosstalk(amplifiers, first.detector, profile)
    # The file is read in its own order, whatever the order in which the profile names the HDUs.
    used = {one.hdu for one in amplifiers}
    held = sorted((header for header in group if header.hdu in used), key=lambda header: header.hdu)
    return _joined(held, _anchored(_stacked(amplifiers, held), first.detector), first.detector, profile)


def _check_crosstalk(amplifiers: Sequence[Amplifier], detector: str, profile: CameraProfile) -> None:
    matrix = setting_for(profile.detector.crosstalk, detector)
    if matrix is not None and len(matrix) != len(amplifiers):
        raise FrameHeld(
            f"detector.crosstalk has {len(matrix)} rows, but the chip {detector!r} has {len(amplifiers)} "
            f"amplifiers ({', '.join(one.name for one in amplifiers)}); give a row for each"
        )


def _joined(
    group: _Group, amplifiers: tuple[Amplifier, ...], detector: str, profile: CameraProfile
) -> FrameHeader:
    kinds = sorted({str(header.kind) for header in group})
    if len(kinds) > 1:
        raise FrameHeld(f"the HDUs of the chip {detector!r} call themselves {' and '.join(kinds)}")
    given = profile.detector.tables_give
    return replace(
        group[0],
        detector=detector,
        shape=_stacked_shape([header.shape for header in group]),
        overscan=None,
        trim=None,
        pedestal=0.0,
        amplifiers=amplifiers,
        gain=float(np.mean([one.gain for one in amplifiers])),
        gain_known=given("gain") or all(header.gain_known for header in group),
        read_noise=math.sqrt(float(np.mean([one.read_noise**2 for one in amplifiers]))),
        read_noise_known=given("read_noise") or all(header.read_noise_known for header in group),
        header_gain=_mean([header.header_gain for header in group]),
        header_read_noise=_mean([header.header_read_noise for header in group]),
        saturation=min(one.saturation for one in amplifiers),
        warnings=tuple(dict.fromkeys(warning for header in group for warning in header.warnings)),
    )


def _mean(stated: Sequence[float | None]) -> float | None:
    """Return the mean of what the HDUs say; None where one says nothing."""
    said = [number for number in stated if number is not None]
    return float(np.mean(said)) if len(said) == len(stated) else None


def _stacked(amplifiers: Sequence[Amplifier], group: _Group) -> list[Amplifier]:
    """Return the amplifiers with their regions moved from their HDUs to the chip's array."""
    first_row, rows = 0, dict[int, int]()
    for header in group:
        rows[header.hdu] = first_row
        first_row += header.shape[0]
    return [
        replace(
            one,
            data=shifted(one.data, rows[one.hdu]),
            overscan=None if one.overscan is None else shifted(one.overscan, rows[one.hdu]),
        )
        for one in amplifiers
    ]


def _anchored(amplifiers: Sequence[Amplifier], detector: str) -> tuple[Amplifier, ...]:
    """Return the amplifiers with the chip's first pixel at (0, 0), once they are found to make a chip."""
    rows = min(one.place[0].start for one in amplifiers)
    columns = min(one.place[1].start for one in amplifiers)
    pair = overlapping(amplifiers)
    if pair is not None:
        raise FrameHeld(
            f"chip {detector!r}: the places of the amplifiers {pair[0]!r} and {pair[1]!r} overlap; "
            "mend keywords.chip_section or detector.amplifiers of the profile"
        )
    anchored = tuple(replace(one, place=shifted(one.place, -rows, -columns)) for one in amplifiers)
    size, read = math.prod(chip_shape(anchored)), sum(math.prod(region_shape(one.data)) for one in anchored)
    if size > SPARSEST * read:
        raise FrameHeld(
            f"chip {detector!r}: the amplifiers read {read} pixels of the {size} that their places span; "
            "mend keywords.detector (are they one chip?), keywords.chip_section or detector.amplifiers"
        )
    return anchored


def _placed(group: _Group) -> list[Amplifier]:
    """Return the amplifiers that the headers describe, with their places in binned pixels."""
    for header in group:
        if not header.amplifiers:
            raise FrameHeld(
                f"HDU {header.hdu} of the chip {header.detector!r} does not say where its pixels belong; "
                'map keywords.chip_section, or give detector.amplifiers as tables instead of "header"'
            )
    described = [(header, header.amplifiers[0]) for header in group]
    row = min(one.place[0].start for _, one in described)
    column = min(one.place[1].start for _, one in described)
    return [
        replace(one, place=_binned(header, shifted(one.place, -row, -column))) for header, one in described
    ]


def _binned(header: FrameHeader, place: Region) -> Region:
    """Return a place in the pixels of the readout: headers give it binned, or more often not."""
    size = region_shape(header.amplifiers[0].data)
    for x, y in ((1, 1), header.binning):
        if (size[0] * y, size[1] * x) == region_shape(place):
            rows, columns = place[0].start // y, place[1].start // x
            return slice(rows, rows + size[0]), slice(columns, columns + size[1])
    ny, nx = region_shape(place)
    raise FrameHeld(
        f"HDU {header.hdu}: its data are {size[1]} x {size[0]} pixels, their place on the chip {nx} x {ny}, "
        f"binned {header.binning[0]} x {header.binning[1]}; mend keywords.trim or keywords.chip_section"
    )


def _from_table(table: AmplifierSettings, group: _Group) -> Amplifier:
    header = group[table.hdu - 1]
    rows, columns, flip_y, flip_x = _oriented(table)
    data = _region(table, "data", table.data, header)
    if region_shape(data) != region_shape((rows, columns)):
        raise FrameHeld(
            f"detector.amplifiers {table.name!r}: data = {table.data} and chip = {table.chip} differ in size"
        )
    return Amplifier(
        name=table.name,
        hdu=header.hdu,
        data=data,
        place=(rows, columns),
        overscan=None if table.overscan is None else _region(table, "overscan", table.overscan, header),
        flip_x=flip_x,
        flip_y=flip_y,
        corner=table.corner or CORNERS[flip_y, flip_x],
        gain=table.gain or header.gain,
        read_noise=header.read_noise if table.read_noise is None else table.read_noise,
        saturation=table.saturation or header.saturation,
        pedestal=header.pedestal,
    )


def _oriented(table: AmplifierSettings) -> tuple[slice, slice, bool, bool]:
    section = parse_oriented_section(table.chip)
    assert section is not None  # the profile was checked when it was read
    return section


def _region(table: AmplifierSettings, name: str, text: str, header: FrameHeader) -> Region:
    region = parse_section(text)
    ny, nx = header.shape
    if region is None or region[0].stop > ny or region[1].stop > nx:
        raise FrameHeld(
            f"detector.amplifiers {table.name!r}: {name} = {text} does not fit HDU {header.hdu} of {nx} x "
            f"{ny} pixels; a subframe or another readout mode needs a profile of its own"
        )
    return region
