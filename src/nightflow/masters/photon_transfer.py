"""Gain and read noise measured from pairs of frames: photon transfer (Janesick 2007, SPIE PM170).

The difference of two frames of one scene holds their noise alone. It is taken in small boxes, after the mean
of each row and column of the box is taken off: that removes what the overscan level, a drifting twilight or
fixed columns leave in it, and costs degrees of freedom that are accounted for. Boxes with stars, defects or
cosmic rays are outvoted by the median over all boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nightflow.detector.master_frame import MasterFrame, PhotonTransfer
from nightflow.instruments.header import FrameHeader, FrameKind
from nightflow.masters.plane_on_disk import Plane
from nightflow.robust import MAD_TO_SIGMA, robust_sigma

__all__ = [
    "Measured",
    "amplifier_doubts",
    "amplifier_read_noise_doubts",
    "doubts",
    "measure_gain",
    "measure_read_noise",
    "photon_transfer",
]

BOX = 32
"""Side of a box, pixels."""

MOST_BOXES = 600
"""Spread evenly over the chip; each gives a variance to 4.6 %, so one pair gives 0.25 %."""

CLIP = 5.0
"""Standard deviations from which a pixel of a box is a cosmic ray or a defect."""

LEAST_SIGMA = 0.3
"""ADU; the scatter that rounding to whole counts alone makes."""

LARGEST_GAP = 0.2
"""Share of a box that may be without a value."""

TOLERATED = 0.2
"""Relative difference up to which a stated gain or read noise is not contradicted."""

_MEDIAN_EFFICIENCY = np.sqrt(np.pi / 2)
"""Standard error of a median over that of a mean, for Gaussian values."""

Boxes = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """A value and its standard error."""

    value: float
    error: float


def photon_transfer(
    kind: FrameKind, planes: Sequence[Plane], master_bias: MasterFrame | None
) -> PhotonTransfer | None:
    """Return what the inputs of a master tell of gain and read noise.

    Parameters
    ----------
    kind : FrameKind
        Biases give the read noise; flats the gain, if the read noise is known from their master bias.
    planes : sequence of planes of float32, shape (ny, nx)
        The inputs as they are combined, ADU; NaN where a pixel has no value.
    master_bias : MasterFrame or None
        That was taken off flats.

    Returns
    -------
    PhotonTransfer or None
        None for other kinds, and where there is too little to measure.
    """
    if kind is FrameKind.BIAS:
        noise = measure_read_noise(planes)
        return None if noise is None else PhotonTransfer(read_noise=noise.value, read_noise_err=noise.error)
    if kind is not FrameKind.FLAT or master_bias is None or master_bias.photon_transfer is None:
        return None
    known = master_bias.photon_transfer
    gain = measure_gain(planes, known.read_noise)
    return None if gain is None else replace(known, gain=gain.value, gain_err=gain.error)


def doubts(header: FrameHeader, transfer: PhotonTransfer | None) -> tuple[str, ...]:
    """Return what a measurement says against the gain and the read noise that are used, and the header's.

    Parameters
    ----------
    header : FrameHeader
        Of one input.
    transfer : PhotonTransfer or None
        What its set was measured to have.

    Returns
    -------
    tuple of str
        A sentence for each value that is off by more than `TOLERATED`, with the mend; none where a value is
        not known or was not measured.
    """
    if transfer is None or header.amplifiers:
        # A chip's gain is the mean of its amplifiers', each read noise its own: see `amplifier_doubts`.
        return ()
    if transfer.gain is None or transfer.gain_err is None:
        return _doubted_read_noise(header, transfer.read_noise)
    gain = f"{transfer.gain:.3g} +- {transfer.gain_err:.2g} electron/adu"
    noise = transfer.read_noise * transfer.gain
    return (
        *_contradicted(
            "gain", header.gain if header.gain_known else None, header.header_gain, transfer.gain, gain
        ),
        *_contradicted(
            "read_noise",
            header.read_noise if header.read_noise_known else None,
            header.header_read_noise,
            noise,
            f"{noise:.3g} electron",
        ),
    )


def _doubted_read_noise(header: FrameHeader, read_noise: float) -> tuple[str, ...]:
    """Return what biases alone, of ``read_noise`` ADU, say: where the gain is known."""
    if not (header.gain_known and header.read_noise_known):
        return ()
    noise = read_noise * header.gain
    if not _is_off(header.read_noise, noise):
        return ()
    return (
        f"read_noise: the biases give {noise:.3g} electron with a gain of {header.gain:g}; "
        f"{header.read_noise:g} is used, {header.read_noise / noise - 1:+.0%}: "
        "set detector.read_noise, or detector.gain, in the profile",
    )


def amplifier_read_noise_doubts(header: FrameHeader, planes: Sequence[Plane]) -> tuple[str, ...]:
    """Return which amplifiers of a chip have another read noise than they are said to have.

    Parameters
    ----------
    header : FrameHeader
        Of one input.
    planes : sequence of planes of float32, shape (ny, nx)
        Biases, ADU as each amplifier counts.
    """
    said = []
    for amplifier in header.amplifiers if header.gain_known and header.read_noise_known else ():
        measured = measure_read_noise([plane[amplifier.place] for plane in planes])
        if measured is not None and _is_off(amplifier.read_noise, measured.value * amplifier.gain):
            said.append(
                f"read_noise: the biases give amplifier {amplifier.name} "
                f"{measured.value * amplifier.gain:.3g} electron with a gain of {amplifier.gain:g}; "
                f"{amplifier.read_noise:g} is used: correct it in the profile's detector.amplifiers"
            )
    return tuple(said)


def amplifier_doubts(header: FrameHeader, planes: Sequence[Plane], read_noise: float) -> tuple[str, ...]:
    """Return which amplifiers of a chip have another gain than they are said to have.

    After the amplifiers are balanced, all of them ought to show the chip's gain.

    Parameters
    ----------
    header : FrameHeader
        Of one input.
    planes : sequence of planes of float32, shape (ny, nx)
        Balanced flats, as for `measure_gain`.
    read_noise : float
        ADU.

    Returns
    -------
    tuple of str
        A sentence for each that is off by more than `TOLERATED`, with the mend.
    """
    said = []
    for amplifier in header.amplifiers if header.gain_known else ():
        measured = measure_gain([plane[amplifier.place] for plane in planes], read_noise)
        if measured is not None and _is_off(header.gain, measured.value):
            said.append(
                f"gain: photon transfer of the flats gives amplifier {amplifier.name} "
                f"{measured.value / header.gain:.2f} times the gain that it is said to have: "
                "correct its gain in the profile's detector.amplifiers"
            )
    return tuple(said)


def _contradicted(
    key: str, used: float | None, stated: float | None, measured: float, words: str
) -> list[str]:
    """Return what is to be said of the value in use, and of the header's where that is another."""
    found = f"{key}: photon transfer of the flats gives {words}"
    if used is None:
        return [f"{found}; neither header nor profile has one: set detector.{key} in the profile"]
    said = []
    if _is_off(used, measured):
        said.append(
            f"{found}; {used:g} is used, {used / measured - 1:+.0%}: set detector.{key} in the profile"
        )
    if stated is not None and stated != used and _is_off(stated, measured):
        said.append(
            f"{found}; the header says {stated:g}, {stated / measured - 1:+.0%}; "
            f"the profile's {used:g} is used"
        )
    return said


def _is_off(value: float, measured: float) -> bool:
    return abs(value / measured - 1) > TOLERATED


def measure_read_noise(planes: Sequence[Plane]) -> Measured | None:
    """Return the read noise of one pixel in ADU, from successive bias frames.

    Parameters
    ----------
    planes : sequence of planes of float32, shape (ny, nx)
        Bias frames in ADU, overscan subtracted; NaN where a pixel has no value.

    Returns
    -------
    Measured or None
        None of fewer than two frames, or where no box has enough pixels.
    """
    variances = [_variance(_boxes(one) - _boxes(other)) / 2 for one, other in pairwise(planes)]
    found = _median(variances)
    if found is None or found.value <= 0:
        return None
    noise = float(np.sqrt(found.value))
    return Measured(noise, found.error / (2 * noise))


def measure_gain(planes: Sequence[Plane], read_noise: float) -> Measured | None:
    """Return the gain in electrons per ADU, from successive flats.

    With F the counts of two flats and r their ratio, the variance of F1 - r F2 is F1 (1 + r) / gain and the
    read-out's part, (1 + r^2) times the square of the read noise.

    Parameters
    ----------
    planes : sequence of planes of float32, shape (ny, nx)
        Flats in ADU, bias and dark subtracted, of whatever level; NaN where a pixel has no value.
    read_noise : float
        ADU.

    Returns
    -------
    Measured or None
        None of fewer than two frames, where no box has enough pixels, or where there is no photon noise.
    """
    inverse = _median([_inverse_gain(one, other, read_noise) for one, other in pairwise(planes)])
    if inverse is None or inverse.value <= 0:
        return None
    gain = 1 / inverse.value
    return Measured(gain, inverse.error * gain**2)


def _inverse_gain(one: Plane, other: Plane, read_noise: float) -> NDArray[np.float64]:
    """Return ADU per electron of each box, NaN where it has no light."""
    first, second = _boxes(one), _boxes(other)
    gap = np.isnan(first) | np.isnan(second)
    first[gap] = second[gap] = np.nan
    level, faint = _level(first), _level(second)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = level / faint
        variance = _variance(first - ratio[:, None, None] * second)
        inverse = (variance - (1 + ratio**2) * read_noise**2) / (level * (1 + ratio))
    lit = (level > 0) & (faint > 0)
    return np.asarray(np.where(lit, inverse, np.nan))


def _level(boxes: Boxes) -> NDArray[np.float64]:
    """Return the mean of each box; NaN where it has no pixel."""
    known = np.isfinite(boxes)
    count = known.sum(axis=(1, 2))
    total = np.where(known, boxes, 0.0).sum(axis=(1, 2))
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def _boxes(plane: Plane) -> Boxes:
    """Return boxes spread evenly over a plane, shape (n, BOX, BOX); smaller ones of a plane that is small."""
    ny, nx = plane.shape
    side = min(BOX, ny, nx)
    rows, columns = ny // side, nx // side
    step = max(1, int(np.ceil(np.sqrt(rows * columns / MOST_BOXES))))
    return np.stack(
        [
            np.asarray(plane[y * side : (y + 1) * side, x * side : (x + 1) * side], np.float64)
            for y in range(0, rows, step)
            for x in range(0, columns, step)
        ]
    )


def _variance(difference: Boxes) -> NDArray[np.float64]:
    """Return the variance in each box about the means of its rows and columns; NaN where it has gaps."""
    known = np.isfinite(difference)
    filled = np.where(known, difference, 0.0)
    filled = np.where(known, filled, _level(difference)[:, None, None])
    sigma = MAD_TO_SIGMA * np.median(
        np.abs(filled - np.median(filled, axis=(1, 2), keepdims=True)), axis=(1, 2)
    )
    limit = CLIP * np.maximum(sigma, LEAST_SIGMA)[:, None, None]
    used = known & (np.abs(filled - np.median(filled, axis=(1, 2), keepdims=True)) <= limit)
    residual = _without_rows_and_columns(filled, used)
    n = used.sum(axis=(1, 2))
    lines = difference.shape[1] + difference.shape[2] - 1
    freedom = np.maximum(n - lines, 1)
    variance = np.where(used, residual**2, 0.0).sum(axis=(1, 2)) / freedom
    enough = n >= (1 - LARGEST_GAP) * difference[0].size
    return np.asarray(np.where(enough, variance, np.nan))


def _without_rows_and_columns(boxes: Boxes, used: NDArray[np.bool_]) -> Boxes:
    """Return the boxes minus the mean of the used pixels of each row, then of each column."""
    residual = boxes
    for axis in (2, 1):
        count = np.maximum(used.sum(axis=axis, keepdims=True), 1)
        residual = residual - np.where(used, residual, 0.0).sum(axis=axis, keepdims=True) / count
    return residual


def _median(pairs: Sequence[NDArray[np.float64]]) -> Measured | None:
    """Return the median over the boxes of all pairs.

    Successive pairs share a frame, so that about half of them are independent of each other.
    """
    values = np.concatenate([*pairs, np.array([])])
    values = values[np.isfinite(values)]
    if values.size == 0:
        return None
    independent = values.size * max(1.0, len(pairs) / 2) / len(pairs)
    error = _MEDIAN_EFFICIENCY * robust_sigma(values) / np.sqrt(independent)
    return Measured(float(np.median(values)), float(error))
