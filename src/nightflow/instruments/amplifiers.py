"""The amplifiers of a chip: which raw pixels each has read, and where they lie on the chip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["CORNERS", "Amplifier", "Corner", "Region", "chip_shape", "overlapping", "region_shape", "shifted"]

Region = tuple[slice, slice]
"""(rows, columns), 0-based, half open."""

Corner = Literal["lower_left", "lower_right", "upper_left", "upper_right"]
"""Where on the chip an amplifier sits, seen from its own pixels."""

CORNERS: dict[tuple[bool, bool], Corner] = {
    (False, False): "lower_left",
    (False, True): "lower_right",
    (True, False): "upper_left",
    (True, True): "upper_right",
}
"""(upper, right) -> corner."""

_Pixel = TypeVar("_Pixel", bound=np.generic)


@dataclass(frozen=True, kw_only=True)
class Amplifier:
    """One readout amplifier of a chip.

    Attributes
    ----------
    name : str
        As in the header or in the profile; unique on its chip.
    hdu : int
        Index in the file of the HDU that holds its pixels.
    data : tuple of slice
        (rows, columns) of the frame's array that saw light. Where a chip is spread over several HDUs, the
        frame's array is those HDUs one above the other; see `nightflow.instruments.chips.stack_pixels`.
    place : tuple of slice
        (rows, columns) of the trimmed chip where these pixels belong.
    overscan : tuple of slice or None
        (rows, columns) of the frame's array that saw no light; None where there is no strip.
    flip_x, flip_y : bool
        Whether columns, rows of ``data`` run against those of the chip.
    corner : str
        Of ``place``, on the chip: the pixel there was read first. Amplifiers that are read together
        disturb each other at equal distances from their corners.
    gain : float
        Electrons per ADU of the counts as they stand: as read before the amplifiers are balanced, the
        chip's own after.
    read_noise : float
        Electrons; 0 where unknown.
    saturation : float
        Raw ADU at and above which a pixel is saturated.
    pedestal : float
        ADU to be subtracted from the raw counts.
    """

    name: str
    hdu: int = 0
    data: Region
    place: Region
    overscan: Region | None = None
    flip_x: bool = False
    flip_y: bool = False
    corner: Corner = "lower_left"
    gain: float = 1.0
    read_noise: float = 0.0
    saturation: float = 65535.0
    pedestal: float = 0.0

    def on_chip(self, plane: NDArray[_Pixel]) -> NDArray[_Pixel]:
        """Return this amplifier's part of a raw plane, turned as the chip; a view."""
        return plane[self.data][self._steps(self.flip_y, self.flip_x)]

    def as_read(self, plane: NDArray[_Pixel]) -> NDArray[_Pixel]:
        """Return this amplifier's part of a raw plane with the pixel read first at [0, 0]; a view."""
        upper, right = self.corner.startswith("upper"), self.corner.endswith("right")
        return plane[self.data][self._steps(self.flip_y != upper, self.flip_x != right)]

    @staticmethod
    def _steps(reverse_y: bool, reverse_x: bool) -> tuple[Any, Any]:
        return slice(None, None, -1 if reverse_y else 1), slice(None, None, -1 if reverse_x else 1)


def region_shape(region: Region) -> tuple[int, int]:
    """Return (ny, nx) of a region."""
    rows, columns = region
    return rows.stop - rows.start, columns.stop - columns.start


def shifted(region: Region, rows: int, columns: int = 0) -> Region:
    """Return a region moved by so many rows and columns."""
    return (
        slice(region[0].start + rows, region[0].stop + rows),
        slice(region[1].start + columns, region[1].stop + columns),
    )


def chip_shape(amplifiers: Sequence[Amplifier]) -> tuple[int, int]:
    """Return (ny, nx) of the trimmed chip that these amplifiers read."""
    return (
        max(amplifier.place[0].stop for amplifier in amplifiers),
        max(amplifier.place[1].stop for amplifier in amplifiers),
    )


def overlapping(amplifiers: Sequence[Amplifier]) -> tuple[str, str] | None:
    """Return the names of two amplifiers whose places on the chip overlap; None where none do."""
    for number, one in enumerate(amplifiers):
        for other in amplifiers[number + 1 :]:
            pairs = zip(one.place, other.place, strict=True)
            if all(a.start < b.stop and b.start < a.stop for a, b in pairs):
                return one.name, other.name
    return None
