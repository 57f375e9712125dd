"""From measured counts to those that a linear detector would have given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightflow.detector.checks import flag_plane, require_unit, set_flag
from nightflow.detector.linearity_kernels import by_polynomial, by_table
from nightflow.flags import Flag
from nightflow.frame import Frame
from nightflow.instruments.amplifier_settings import LinearitySettings, setting_for
from nightflow.instruments.amplifiers import Region

__all__ = ["Linearised", "linearise", "true_counts"]

Plane = NDArray[np.float32]


@dataclass(frozen=True)
class Linearised:
    """Counts after the correction.

    Attributes
    ----------
    counts : ndarray of float32
        True counts, ADU.
    slope : ndarray of float32
        d true / d measured: what the noise of the measured counts is multiplied by.
    beyond : ndarray of bool
        Where the measured counts lie above what was calibrated.
    """

    counts: Plane
    slope: Plane
    beyond: NDArray[np.bool_]


def linearise(frame: Frame, curves: Mapping[str, LinearitySettings]) -> Frame:
    """Replace measured counts by true ones, amplifier by amplifier.

    Parameters
    ----------
    frame : Frame
        ADU, bias subtracted, before amplifiers are balanced: what is not linear is the amplifier and the
        converter behind it.
    curves : mapping of str to LinearitySettings
        By amplifier, chip or "all"; see `nightflow.instruments.amplifier_settings.setting_for`.

    Returns
    -------
    Frame
        Pixels beyond the calibrated range follow the curve's last slope and are flagged SATURATED. A
        variance that is there already (that of the readout) is multiplied by the square of the slope.

    Raises
    ------
    ValueError
        The counts are not in ADU.
    """
    require_unit(frame, "linearity", "adu")
    chip = frame.header.detector
    parts = [(name, region, setting_for(curves, chip, name)) for name, region in _parts(frame)]
    missing = [name for name, _, curve in parts if curve is None]
    warnings = [_no_curve(frame, missing)] if missing else []
    if len(missing) == len(parts):
        return frame.after("linearity: not done", *warnings)
    data, flags, beyond = frame.data.copy(), flag_plane(frame), np.zeros(frame.data.shape, bool)
    variance = None if frame.variance is None else frame.variance.copy()
    for _, region, curve in parts:
        if curve is not None:
            result = true_counts(frame.data[region], curve)
            data[region], beyond[region] = result.counts, result.beyond
            if variance is not None:
                variance[region] *= result.slope**2
    unexpected = np.count_nonzero(beyond & ((flags & int(Flag.SATURATED)) == 0))
    if unexpected:
        warnings.append(f"linearity: {unexpected} pixels below saturation lie beyond the calibrated range")
    set_flag(flags, beyond, Flag.SATURATED)
    done = _listed([name for name, _, curve in parts if curve is not None])
    history = f"linearity: corrected{done}, {np.count_nonzero(beyond)} pixels beyond the calibrated range"
    return frame.after(history, *warnings, data=data, variance=variance, flags=flags)


def true_counts(measured: Plane, curve: LinearitySettings) -> Linearised:
    """Return true for measured counts of any shape, both in ADU above the bias.

    Below zero, where noise takes faint pixels, the curve goes on with its slope at zero (of a table, with
    that of its first piece), and above the calibrated range with its slope there.
    """
    line = np.ascontiguousarray(measured).ravel()
    counts, slope = np.empty_like(line), np.empty_like(line)
    if curve.polynomial:
        assert curve.maximum is not None  # the profile was checked when it was read
        maximum = curve.maximum
        by_polynomial(line, np.array(curve.polynomial, np.float64), maximum, counts, slope)
    else:
        nodes, true = np.array(curve.table, np.float64).T.copy()
        maximum = nodes[-1]
        by_table(line, nodes, true, counts, slope)
    shape = measured.shape
    return Linearised(counts.reshape(shape), slope.reshape(shape), measured > np.float32(maximum))


def _parts(frame: Frame) -> list[tuple[str, Region]]:
    """Return name and place of each amplifier; "" and all pixels where there is one."""
    whole = (slice(0, frame.data.shape[0]), slice(0, frame.data.shape[1]))
    return [(one.name, one.place) for one in frame.header.amplifiers] or [("", whole)]


def _listed(names: list[str]) -> str:
    named = [name for name in names if name]
    return f" for {', '.join(named)}" if named else ""


def _no_curve(frame: Frame, missing: list[str]) -> str:
    return (
        f"linearity: detector.linearity has no curve for chip {frame.header.detector!r}{_listed(missing)}; "
        "counts taken as linear"
    )
