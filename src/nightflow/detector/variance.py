"""The noise model: photons, read-out and the masters' own uncertainty."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nightflow.detector.amplifiers import amplifier_plane
from nightflow.detector.checks import require_unit
from nightflow.detector.master_frame import MasterFrame
from nightflow.detector.overscan_levels import DEFAULT_CURVE, LevelCurve, strip_variance
from nightflow.frame import Frame
from nightflow.instruments.amplifiers import Amplifier
from nightflow.instruments.header import FrameHeader
from nightflow.instruments.profile import OverscanMode

__all__ = [
    "attach_readout_variance",
    "attach_variance",
    "noise_variance",
    "variance_line",
    "variance_warnings",
]


def attach_readout_variance(
    frame: Frame,
    *,
    master_bias: MasterFrame | None = None,
    bias_share: float = 1.0,
    mode: OverscanMode = "off",
    curve: LevelCurve = DEFAULT_CURVE,
) -> Frame:
    """Attach the part of the variance that no light makes: read noise, overscan level, master bias.

    To be called where the counts are still those that each amplifier has read, before a step that stretches
    them (linearity, balance): it is to be stretched along, unlike the noise of the photons, which
    follows from the true counts. `attach_variance` adds that.

    Parameters
    ----------
    frame : Frame
        ADU, put together. One that has a variance is returned as it is.
    master_bias : MasterFrame, optional
        The one that was subtracted.
    bias_share : float
        Share of its variance that stays; see `nightflow.detector.choices.bias_share`.
    mode, curve
        How the overscan level was found; see `nightflow.detector.overscan_levels.strip_variance`.

    Raises
    ------
    ValueError
        The counts are not in ADU.
    """
    require_unit(frame, "variance", "adu")
    if frame.variance is not None:
        return frame
    header = frame.header

    def of(amplifier: Amplifier | FrameHeader) -> float:
        noise = amplifier.read_noise / amplifier.gain
        strip = amplifier.overscan
        return noise**2 + (0.0 if strip is None else strip_variance(strip, noise, mode, curve))

    if header.amplifiers:
        variance = amplifier_plane(frame, of)
    else:
        variance = np.full(frame.data.shape, of(header), np.float32)
    if master_bias is not None:
        variance += np.float32(bias_share) * master_bias.uncertainty**2
    return frame.after("variance: of the readout, as each amplifier counts", variance=variance)


def attach_variance(
    frame: Frame,
    *,
    master_bias: MasterFrame | None = None,
    bias_share: float = 1.0,
    zero_level: NDArray[np.float32] | None = None,
    extra: float = 0.0,
    level_removed: bool = False,
) -> Frame:
    """Attach the variance plane.

    To be called when the bias is gone and the dark current still there: its electrons are as noisy as
    those of the sky. Where `attach_readout_variance` was called before, the photons' share is added to that
    and ``master_bias`` and ``extra`` are in it already.

    Parameters
    ----------
    frame : Frame
        ADU.
    master_bias : MasterFrame, optional
        The one that was subtracted; its variance is added.
    bias_share : float
        Share of its variance that stays; see `nightflow.detector.choices.bias_share`.
    zero_level : ndarray of float32, optional
        ADU in the counts that are not electrons of this exposure (a dark that holds the bias).
    extra : float
        Further variance in ADU^2, such as that of the overscan level.
    level_removed : bool
        Whether the bias level is gone although ``header.bias_included`` still says its structure is there.

    Raises
    ------
    ValueError
        The counts are not in ADU, or the gain is not positive.
    """
    require_unit(frame, "variance", "adu")
    header = frame.header
    counts = frame.data if zero_level is None else frame.data - zero_level
    if frame.variance is not None:
        variance = noise_variance(counts, header.gain, 0.0) + frame.variance
    else:
        variance = noise_variance(counts, header.gain, header.read_noise)
        if extra:
            variance += np.float32(extra)
        if master_bias is not None:
            variance += np.float32(bias_share) * master_bias.uncertainty**2
    warnings = variance_warnings(header)
    if header.bias_included and zero_level is None and not level_removed:
        warnings.append("variance: the bias level was not removed and counts as light")
    return frame.after(variance_line(header), *warnings, variance=variance)


def variance_line(header: FrameHeader) -> str:
    """Return the line of history."""
    return f"variance: gain {header.gain:g} electron/adu, read noise {header.read_noise:g} electron"


def variance_warnings(header: FrameHeader) -> list[str]:
    """Return what makes the error bars doubtful."""
    if header.gain_known:
        return []
    return [f"variance: gain unknown, {header.gain:g} electron/adu assumed; error bars say little"]


def noise_variance(counts: NDArray[np.float32], gain: float, read_noise: float) -> NDArray[np.float32]:
    """Return photon and read-out variance of ``counts`` in ADU^2.

    Counts below zero carry no photon noise (the definition of CCDs' signal-to-noise, Howell 2006, and of
    `ccdproc.create_deviation`).

    Parameters
    ----------
    counts : ndarray of float32
        ADU above the bias level.
    gain : float
        Electrons per ADU.
    read_noise : float
        Electrons.

    Raises
    ------
    ValueError
        The gain is not positive.
    """
    if not gain > 0:
        raise ValueError(f"variance: gain must be positive, got {gain}")
    variance = np.maximum(counts, np.float32(0))
    variance *= np.float32(1 / gain)
    variance += np.float32((read_noise / gain) ** 2)
    return variance
