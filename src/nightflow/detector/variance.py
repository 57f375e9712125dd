"""The noise model: photons, read-out and the masters' own uncertainty."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nightflow.detector.checks import require_unit
from nightflow.detector.master_frame import MasterFrame
from nightflow.frame import Frame

__all__ = ["attach_variance", "noise_variance"]


def attach_variance(
    frame: Frame,
    *,
    master_bias: MasterFrame | None = None,
    zero_level: NDArray[np.float32] | None = None,
    extra: float = 0.0,
    level_removed: bool = False,
) -> Frame:
    """Attach the variance plane.

    To be called when the bias is gone and the dark current still there: its electrons are as noisy as
    those of the sky.

    Parameters
    ----------
    frame : Frame
        ADU.
    master_bias : MasterFrame, optional
        The one that was subtracted; its variance is added.
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
    variance = noise_variance(counts, header.gain, header.read_noise)
    if extra:
        variance += np.float32(extra)
    if master_bias is not None:
        variance += master_bias.uncertainty**2
    warnings = []
    if not header.gain_known:
        warnings.append(
            f"variance: gain unknown, {header.gain:g} electron/adu assumed; error bars say little"
        )
    if header.bias_included and zero_level is None and not level_removed:
        warnings.append("variance: the bias level was not removed and counts as light")
    return frame.after(
        f"variance: gain {header.gain:g} electron/adu, read noise {header.read_noise:g} electron",
        *warnings,
        variance=variance,
    )


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
