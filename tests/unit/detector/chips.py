"""A chip of two amplifiers for the tests: 8 rows, 6 columns each, 4 columns of overscan to the right of all.

The raw array holds the left amplifier's columns 0 to 5, the right one's 6 to 11 (in the chip's
orientation, but read from the right), the left one's overscan 12 and 13, the right one's 14 and 15.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from nightflow.frame import Frame
from nightflow.instruments.amplifiers import Amplifier
from tests.unit.detector.frames import make_header

ROWS = slice(0, 8)
LEFT = (ROWS, slice(0, 6))
RIGHT = (ROWS, slice(6, 12))


def amplifiers(**right: Any) -> tuple[Amplifier, Amplifier]:
    """Return left and right; ``right`` changes the latter."""
    one = Amplifier(
        name="L",
        data=LEFT,
        place=LEFT,
        overscan=(ROWS, slice(12, 14)),
        gain=2.0,
        read_noise=8.0,
        saturation=50000.0,
    )
    values = {
        "name": "R",
        "data": RIGHT,
        "place": RIGHT,
        "overscan": (ROWS, slice(14, 16)),
        "corner": "lower_right",
        "gain": 3.0,
        "read_noise": 6.0,
        "saturation": 60000.0,
    } | right
    return one, Amplifier(**values)


def raw_frame(data: Any = 0.0, *, right: dict[str, Any] | None = None, **changes: Any) -> Frame:
    """Return a raw frame; ``data`` fills it."""
    pixels: NDArray[np.float32] = np.zeros((8, 16), np.float32) + np.asarray(data, np.float32)
    header = make_header(shape=(8, 16), amplifiers=amplifiers(**right or {}), gain=2.5, **changes)
    return Frame(data=pixels, unit="adu", header=header, raw_header=fits.Header())


def chip_frame(data: Any = 0.0, *, right: dict[str, Any] | None = None, **changes: Any) -> Frame:
    """Return a frame that was put together already: 8 x 12 pixels."""
    pixels: NDArray[np.float32] = np.zeros((8, 12), np.float32) + np.asarray(data, np.float32)
    header = make_header(shape=(8, 16), amplifiers=amplifiers(**right or {}), gain=2.5, **changes)
    return Frame(data=pixels, unit="adu", header=header, raw_header=fits.Header())
