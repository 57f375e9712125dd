"""The arithmetic of the engine ``reference``: ccdproc (Craig et al.) in place of our own.

Flags, history and warnings are those of the steps; the pixels and their variance come from ccdproc wherever
it has the step. What it has not (several amplifiers, curves through the overscan's lines, linearity,
crosstalk, a dark that holds its bias) is done by the steps' own files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import ccdproc
import numpy as np
from astropy import units as u
from astropy.nddata import CCDData, StdDevUncertainty

from nightflow.detector.choices import bias_in_dark, bias_share, level_curve
from nightflow.detector.master_frame import MasterFrame, MasterSet
from nightflow.detector.overscan import line_axis, overscan_variance
from nightflow.frame import Frame
from nightflow.instruments.profile import CameraProfile

__all__ = ["ORACLES", "by_ccdproc"]

Oracle = Callable[[Frame, CameraProfile, MasterSet], CCDData | None]
"""(frame before the step, profile, masters) -> pixels and errors after it; None where ccdproc has no such."""

_UNITS = {"adu": u.adu, "electron": u.electron}
_ADU = u.electron / u.adu


def by_ccdproc(step: str, before: Frame, after: Frame, profile: CameraProfile, masters: MasterSet) -> Frame:
    """Return the frame after a step with ccdproc's pixels and variance in place of ours.

    Parameters
    ----------
    step : str
        Name of the step in `nightflow.detector.chain.STEPS`.
    before, after : Frame
        What the step was given and what it made of it. Where it changed neither pixels nor variance there is
        nothing to ask.
    profile : CameraProfile
    masters : MasterSet
    """
    oracle = ORACLES.get(step)
    if oracle is None or (after.data is before.data and after.variance is before.variance):
        return after
    result = oracle(before, profile, masters)
    if result is None:
        return after
    variance = None if result.uncertainty is None else np.asarray(result.uncertainty.array, np.float32) ** 2
    return replace(after, data=np.asarray(result.data, np.float32), variance=variance)


def _ccd(frame: Frame) -> CCDData:
    error = None if frame.variance is None else StdDevUncertainty(np.sqrt(frame.variance))
    return CCDData(frame.data, unit=_UNITS[frame.unit], uncertainty=error)


def _master(master: MasterFrame, unit: u.UnitBase) -> CCDData:
    return CCDData(master.data, unit=unit, uncertainty=StdDevUncertainty(master.uncertainty))


def _overscan(before: Frame, profile: CameraProfile, masters: MasterSet) -> CCDData | None:
    section = before.header.overscan
    if before.header.amplifiers or section is None or profile.calibration.overscan != "row_median":
        return None
    axis = line_axis(section)
    covers = section[axis].start == 0 and section[axis].stop == before.data.shape[axis]
    ccd = _ccd(before)
    if not covers or not np.isfinite(ccd.data[section]).all():
        return None  # ccdproc knows nothing of lines without a level
    return ccdproc.subtract_overscan(ccd, overscan=ccd[section], overscan_axis=1 - axis, median=True)


def _trim(before: Frame, profile: CameraProfile, masters: MasterSet) -> CCDData | None:
    if before.header.amplifiers or before.header.trim is None:
        return None
    return ccdproc.trim_image(_ccd(before)[before.header.trim])


def _bias(before: Frame, profile: CameraProfile, masters: MasterSet) -> CCDData | None:
    if masters.bias is None:
        return None
    return ccdproc.subtract_bias(_ccd(before), CCDData(masters.bias.data, unit=u.adu))


def _variance(before: Frame, profile: CameraProfile, masters: MasterSet) -> CCDData | None:
    header = before.header
    if before.variance is not None or (header.bias_included and bias_in_dark(profile, masters) is not None):
        return None
    extra = overscan_variance(header, profile.calibration.overscan, level_curve(profile))
    noise = float(np.hypot(header.read_noise, header.gain * np.sqrt(extra)))
    ccd = ccdproc.create_deviation(
        _ccd(before), gain=header.gain * _ADU, readnoise=noise * u.electron, disregard_nan=True
    )
    bias = masters.bias if not header.bias_included and "bias" not in header.steps_done else None
    if bias is not None and profile.calibration.bias != "off":
        share = np.sqrt(bias_share(before, profile, masters))
        ccd.uncertainty = StdDevUncertainty(np.hypot(ccd.uncertainty.array, share * bias.uncertainty))
    return ccd


def _dark(before: Frame, profile: CameraProfile, masters: MasterSet) -> CCDData | None:
    dark = masters.dark
    if dark is None or dark.header.bias_included:
        return None
    scaled = profile.calibration.dark_scaling == "scaled"
    return ccdproc.subtract_dark(
        _ccd(before),
        _master(dark, u.adu),
        dark_exposure=dark.header.exptime * u.s,
        data_exposure=before.header.exptime * u.s,
        exposure_unit=u.s,
        scale=scaled,
    )


def _flat(before: Frame, profile: CameraProfile, masters: MasterSet) -> CCDData | None:
    if masters.flat is None:
        return None
    flat = _master(masters.flat, u.dimensionless_unscaled)
    # Nothing is divided where there is no response: such pixels are flagged dead.
    flat.data = np.where(flat.data > 0, flat.data, np.float32(1))
    return ccdproc.flat_correct(_ccd(before), flat, norm_value=1.0)


def _gain(before: Frame, profile: CameraProfile, masters: MasterSet) -> CCDData | None:
    return ccdproc.gain_correct(_ccd(before), before.header.gain, gain_unit=_ADU)


ORACLES: Mapping[str, Oracle] = {
    "overscan": _overscan,
    "trim": _trim,
    "bias": _bias,
    "variance": _variance,
    "dark": _dark,
    "flat": _flat,
    "gain": _gain,
}
"""Step -> what ccdproc makes of it."""
