"""Take out what the amplifiers that are read together put into each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from nightflow.detector.checks import flag_plane, require_raw_shape, require_unit, set_flag
from nightflow.errors import ConfigurationError
from nightflow.flags import Flag
from nightflow.frame import Frame
from nightflow.instruments.amplifiers import Amplifier, region_shape

__all__ = ["subtract_crosstalk"]

_Pixel = TypeVar("_Pixel", np.float32, np.bool_)


def subtract_crosstalk(frame: Frame, matrix: Sequence[Sequence[float]]) -> Frame:
    """Undo the crosstalk between the amplifiers of a chip.

    What is read at one moment, one pixel of each amplifier at the same distance from its corner, is
    (1 + X) times what was there, and is multiplied by the inverse: so the ghosts of ghosts go too. The
    level of the overscan must be gone, or else it takes part in every frame alike.

    Parameters
    ----------
    frame : Frame
        ADU, untrimmed, saturation flagged.
    matrix : sequence of sequence of float
        X[victim][source] in the order of ``header.amplifiers``: fraction of the source's counts that
        appears in the victim's.

    Returns
    -------
    Frame
        Of a saturated source the true signal is not known. What it showed is taken out, and its victims are
        flagged BAD where that is more than their read noise (more than 1 ADU where this is not known).

    Raises
    ------
    ConfigurationError
        The matrix is not of as many amplifiers as the chip has.
    ValueError
        The frame was trimmed before, or is not in ADU.
    """
    require_unit(frame, "crosstalk", "adu")
    require_raw_shape(frame, "crosstalk")
    amplifiers = frame.header.amplifiers
    coupling = np.array(matrix, np.float64)
    _require_size(coupling, frame)
    data, flags = frame.data.copy(), flag_plane(frame)
    planes = _side_by_side(frame.data, amplifiers)
    saturated = _side_by_side((flags & int(Flag.SATURATED)) != 0, amplifiers)
    ghosts = np.tensordot(_correction(coupling), planes, axes=1)
    doubtful = 0
    for victim, amplifier in enumerate(amplifiers):
        ny, nx = region_shape(amplifier.data)
        amplifier.as_read(data)[...] += ghosts[victim, :ny, :nx]
        doubt = _doubt(coupling[victim], planes, saturated, _noise(amplifier))[:ny, :nx]
        set_flag(amplifier.as_read(flags), doubt, Flag.BAD)
        doubtful += int(np.count_nonzero(doubt))
    return frame.after(
        f"crosstalk: {np.count_nonzero(coupling)} pairs of amplifiers corrected, largest fraction "
        f"{np.abs(coupling).max():g}, {doubtful} pixels lie on the ghost of a saturated one",
        data=data,
        flags=flags,
    )


def _require_size(coupling: NDArray[np.float64], frame: Frame) -> None:
    names = [one.name for one in frame.header.amplifiers]
    if len(coupling) != len(names):
        raise ConfigurationError(
            f"detector.crosstalk has {len(coupling)} rows, but the chip {frame.header.detector!r} has "
            f"{len(names)} amplifiers ({', '.join(names)}); give a row for each"
        )


def _correction(coupling: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return what is to be added for each count that was seen, [victim][source]."""
    unity = np.eye(len(coupling))
    return (np.linalg.inv(unity + coupling) - unity).astype(np.float32)


def _side_by_side(plane: NDArray[_Pixel], amplifiers: Sequence[Amplifier]) -> NDArray[_Pixel]:
    """Return the amplifiers' pixels in the order in which they were read, shape (amplifier, ny, nx)."""
    shapes = [region_shape(amplifier.data) for amplifier in amplifiers]
    ny, nx = max(shape[0] for shape in shapes), max(shape[1] for shape in shapes)
    planes = np.zeros((len(amplifiers), ny, nx), plane.dtype)
    for number, (amplifier, shape) in enumerate(zip(amplifiers, shapes, strict=True)):
        planes[number, : shape[0], : shape[1]] = amplifier.as_read(plane)
    return planes


def _doubt(
    coupling: NDArray[np.float64],
    planes: NDArray[np.float32],
    saturated: NDArray[np.bool_],
    noise: float,
) -> NDArray[np.bool_]:
    """Return where a saturated source's ghost, as far as it is known, is above ``noise`` ADU."""
    doubt = np.zeros(planes.shape[1:], bool)
    for source in np.flatnonzero(coupling):
        where = np.nonzero(saturated[source])
        doubt[where] |= np.abs(coupling[source] * planes[source][where]) > noise
    return doubt


def _noise(amplifier: Amplifier) -> float:
    return amplifier.read_noise / amplifier.gain or 1.0
