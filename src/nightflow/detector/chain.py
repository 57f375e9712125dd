"""The way from raw counts to electrons: the order of the steps stands here and nowhere else.

`STEPS` is the table. A light frame goes through all of it (`calibrate`); a bias, dark or flat that is to
become part of a master goes through the rows that its kind is named in (`prepare_for_master`). What the
header says to be done already is passed over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from nightflow.detector.bad_pixels import flag_master_defects, flag_not_finite, flag_regions
from nightflow.detector.balance import balance_amplifiers
from nightflow.detector.bias import subtract_bias
from nightflow.detector.choices import bias_in_dark, bias_share, left_out, level_curve, level_removed
from nightflow.detector.cosmic_rays import flag_cosmic_rays
from nightflow.detector.crosstalk import subtract_crosstalk
from nightflow.detector.dark import subtract_dark
from nightflow.detector.fill_pixels import fill_pixels
from nightflow.detector.flat import divide_flat
from nightflow.detector.fringe import subtract_fringe
from nightflow.detector.fused import FUSED_STEPS, calibrate_fused, can_be_fused
from nightflow.detector.gain import apply_gain
from nightflow.detector.illumination import divide_illumination
from nightflow.detector.linearity import linearise
from nightflow.detector.master_frame import MasterFrame, MasterSet
from nightflow.detector.overscan import overscan_variance, subtract_overscan
from nightflow.detector.pedestal import subtract_pedestal
from nightflow.detector.persistence import flag_persistence
from nightflow.detector.saturation import flag_saturation
from nightflow.detector.trails import flag_trails
from nightflow.detector.trim import trim
from nightflow.detector.variance import attach_readout_variance, attach_variance
from nightflow.frame import Frame
from nightflow.instruments.amplifier_settings import setting_for
from nightflow.instruments.header import FrameKind
from nightflow.instruments.profile import CameraProfile

__all__ = [
    "STEPS",
    "DetectorEngine",
    "MasterFrame",
    "MasterSet",
    "Step",
    "calibrate",
    "flag_raw",
    "prepare_for_master",
]

DetectorEngine = Literal["fast", "steps", "reference"]

BIAS, DARK, FLAT, LIGHT = FrameKind.BIAS, FrameKind.DARK, FrameKind.FLAT, FrameKind.LIGHT


@dataclass(frozen=True)
class Step:
    """One row of the table.

    Attributes
    ----------
    name : str
        As in the history.
    apply : callable
        (frame, profile, masters) -> frame.
    kinds : frozenset of FrameKind
        Which frames go through it.
    """

    name: str
    apply: Callable[[Frame, CameraProfile, MasterSet], Frame]
    kinds: frozenset[FrameKind]


def calibrate(
    frame: Frame, profile: CameraProfile, masters: MasterSet, engine: DetectorEngine = "fast"
) -> Frame:
    """Calibrate a light frame.

    Parameters
    ----------
    frame : Frame
        Raw counts in ADU, untrimmed. Not changed.
    profile : CameraProfile
        Which steps to do and how.
    masters : MasterSet
        Those that fit the frame. A step whose master is absent is left out with a warning; whether that
        may be is the caller's policy.
    engine : {"fast", "steps", "reference"}
        "fast": all that can be in one pass (`nightflow.detector.fused`); "steps": one after another;
        "reference": the same with ccdproc's arithmetic and astroscrappy. The results are equal to rounding.

    Returns
    -------
    Frame
        float32 electrons, with variance, flags and a line of history for each step done.

    Raises
    ------
    FrameRejected
        Not one pixel is finite.
    MissingCalibration
        The master dark does not fit in exposure, or its bias cannot be told apart.
    ValueError
        A frame that is not raw, or masters of the wrong kind or shape.
    """
    if engine == "reference":
        return _run_reference(frame, profile, masters)
    if engine == "fast" and can_be_fused(frame, profile, masters):
        fused = calibrate_fused(frame, profile, masters)
        if fused is not None:
            return _run(fused, LIGHT, profile, masters, done=FUSED_STEPS)
    return _run(frame, LIGHT, profile, masters)


def prepare_for_master(
    frame: Frame, kind: FrameKind, profile: CameraProfile, masters: MasterSet | None = None
) -> Frame:
    """Bring a calibration frame to where frames of its kind are combined; it stays in ADU.

    Parameters
    ----------
    frame : Frame
        Raw counts in ADU, untrimmed.
    kind : FrameKind
        Bias: overscan and pedestal are removed. Dark: the bias too. Flat: the dark too.
    profile : CameraProfile
        Which steps to do and how.
    masters : MasterSet, optional
        Bias for a dark; bias and the dark of the flat's exposure for a flat.

    Raises
    ------
    FrameRejected, MissingCalibration, ValueError
        As `calibrate`; ValueError also for a kind that no master is made of.
    """
    if kind not in (BIAS, DARK, FLAT):
        raise ValueError(f"no master is made of {kind} frames")
    return _run(frame, kind, profile, masters or MasterSet())


def flag_raw(frame: Frame) -> Frame:
    """Flag what raw counts saturated, on the trimmed grid; the counts are not calibrated.

    What is beyond the range of a curve of linearity is not known here.

    Raises
    ------
    ValueError
        A frame that is not raw.
    """
    done = frame.header.steps_done
    frame = frame if "saturation" in done else flag_saturation(frame)
    return frame if "trim" in done else trim(frame)


def _run(
    frame: Frame,
    kind: FrameKind,
    profile: CameraProfile,
    masters: MasterSet,
    done: frozenset[str] = frozenset(),
) -> Frame:
    for step in STEPS:
        if kind in step.kinds and step.name not in done:
            frame = _already(frame, step) or step.apply(frame, profile, masters)
    return frame


def _already(frame: Frame, step: Step) -> Frame | None:
    """Return the frame with the word that somebody has done a step before; None where nobody has."""
    if step.name not in frame.header.steps_done:
        return None
    return frame.after(f"{step.name}: already done, says the header")


def _run_reference(frame: Frame, profile: CameraProfile, masters: MasterSet) -> Frame:
    # A second of import that the fast engine is spared.
    from nightflow.detector.reference import by_ccdproc

    cosmic_rays = profile.cosmic_rays.model_copy(update={"method": "astroscrappy"})
    profile = profile.model_copy(update={"cosmic_rays": cosmic_rays})
    for step in STEPS:
        if LIGHT not in step.kinds:
            continue
        known = _already(frame, step)
        if known is not None:
            frame = known
        else:
            frame = by_ccdproc(step.name, frame, step.apply(frame, profile, masters), profile, masters)
    return frame


def _overscan(frame: Frame, profile: CameraProfile, masters: MasterSet) -> Frame:
    return subtract_overscan(frame, profile.calibration.overscan, level_curve(profile))


def _crosstalk(frame: Frame, profile: CameraProfile, masters: MasterSet) -> Frame:
    matrix = setting_for(profile.detector.crosstalk, frame.header.detector)
    if matrix is None or not profile.calibration.crosstalk or not frame.header.amplifiers:
        return frame
    return subtract_crosstalk(frame, matrix)


def _bias(frame: Frame, profile: CameraProfile, masters: MasterSet) -> Frame:
    if profile.calibration.bias == "off":
        if not level_removed(frame, profile):
            return frame
        header = replace(frame.header, bias_included=False)
        return frame.after("bias: off; the level went with the overscan", header=header)
    if masters.bias is not None:
        return subtract_bias(frame, masters.bias)
    if not frame.header.bias_included or bias_in_dark(profile, masters) is not None:
        return frame
    return left_out(frame, "bias")


def _linearity(frame: Frame, profile: CameraProfile, masters: MasterSet) -> Frame:
    curves = profile.detector.linearity
    if not curves or not profile.calibration.linearity:
        return frame
    if frame.header.bias_included and not level_removed(frame, profile):
        return frame.after(
            "linearity: not done", "linearity: the bias level is still in the counts; not corrected"
        )
    return linearise(_with_readout_variance(frame, profile, masters), curves)


def _balance(frame: Frame, profile: CameraProfile, masters: MasterSet) -> Frame:
    if not frame.header.amplifiers:
        return frame
    return balance_amplifiers(_with_readout_variance(frame, profile, masters))


def _with_readout_variance(frame: Frame, profile: CameraProfile, masters: MasterSet) -> Frame:
    return attach_readout_variance(
        frame,
        master_bias=_subtracted_bias(frame, profile, masters),
        bias_share=bias_share(frame, profile, masters),
        mode=profile.calibration.overscan,
        curve=level_curve(profile),
    )


def _variance(frame: Frame, profile: CameraProfile, masters: MasterSet) -> Frame:
    dark = bias_in_dark(profile, masters) if frame.header.bias_included else None
    return attach_variance(
        frame,
        master_bias=_subtracted_bias(frame, profile, masters),
        bias_share=bias_share(frame, profile, masters),
        zero_level=dark.data if dark is not None else None,
        extra=overscan_variance(frame.header, profile.calibration.overscan, level_curve(profile)),
        level_removed=level_removed(frame, profile),
    )


def _subtracted_bias(frame: Frame, profile: CameraProfile, masters: MasterSet) -> MasterFrame | None:
    """Return the master bias where it is what took the bias out of the frame."""
    ours = profile.calibration.bias != "off" and "bias" not in frame.header.steps_done
    return masters.bias if ours and not frame.header.bias_included else None


def _dark(frame: Frame, profile: CameraProfile, masters: MasterSet) -> Frame:
    settings = profile.calibration
    if settings.dark == "off":
        return frame
    if masters.dark is None:
        return left_out(frame, "dark")
    return subtract_dark(
        frame,
        masters.dark,
        masters.bias,
        scaling=settings.dark_scaling,
        exposure_tolerance=profile.masters.exposure_tolerance,
    )


def _flat(frame: Frame, profile: CameraProfile, masters: MasterSet) -> Frame:
    settings = profile.calibration
    if settings.flat == "off":
        return frame
    if masters.flat is None:
        return left_out(frame, "flat")
    return divide_flat(frame, masters.flat, low=settings.flat_low, high=settings.flat_high)


def _illumination(frame: Frame, profile: CameraProfile, masters: MasterSet) -> Frame:
    if profile.calibration.illumination == "off" or "flat" in frame.header.steps_done:
        return frame
    if masters.illumination is None:
        return left_out(frame, "illumination")
    return divide_illumination(frame, masters.illumination)


def _fringe(frame: Frame, profile: CameraProfile, masters: MasterSet) -> Frame:
    if profile.calibration.fringe == "off" or "flat" in frame.header.steps_done:
        return frame
    if masters.fringe is None:
        return left_out(frame, "fringe")
    return subtract_fringe(frame, masters.fringe, background=profile.masters.fringe_background)


def _hot_pixels(frame: Frame, profile: CameraProfile, masters: MasterSet) -> Frame:
    settings = profile.calibration
    used = {
        kind: getattr(masters, kind) for kind in ("bias", "dark", "flat") if getattr(settings, kind) != "off"
    }
    if all(master is None for master in used.values()):
        return frame
    return flag_master_defects(frame, MasterSet(**used), profile.bad_pixels)


def _persistence(frame: Frame, profile: CameraProfile, masters: MasterSet) -> Frame:
    return flag_persistence(frame, masters.saturated_before, profile.bad_pixels.persistence_seconds)


def _mosaic(frame: Frame, profile: CameraProfile, masters: MasterSet) -> Frame:
    if not frame.header.bayer:
        return frame
    return frame.after("mosaic: kept", f"colour filter mosaic {frame.header.bayer}: pixels left as they are")


def _cosmic_rays(frame: Frame, profile: CameraProfile, masters: MasterSet) -> Frame:
    if not profile.cosmic_rays.enabled:
        return frame
    return flag_cosmic_rays(frame, profile.cosmic_rays)


def _trails(frame: Frame, profile: CameraProfile, masters: MasterSet) -> Frame:
    return flag_trails(frame, profile.trails) if profile.trails.enabled else frame


_ALL = frozenset({BIAS, DARK, FLAT, LIGHT})

STEPS: tuple[Step, ...] = (
    Step("saturation", lambda frame, profile, masters: flag_saturation(frame), _ALL),
    Step(
        "bad_regions",
        lambda frame, profile, masters: flag_regions(frame, profile.detector.bad_pixel_regions),
        _ALL,
    ),
    Step("overscan", _overscan, _ALL),
    Step("not_finite", lambda frame, profile, masters: flag_not_finite(frame), _ALL),
    Step("crosstalk", _crosstalk, _ALL),
    Step("trim", lambda frame, profile, masters: trim(frame), _ALL),
    Step("pedestal", lambda frame, profile, masters: subtract_pedestal(frame), _ALL),
    Step("bias", _bias, frozenset({DARK, FLAT, LIGHT})),
    Step("linearity", _linearity, frozenset({DARK, FLAT, LIGHT})),
    Step("balance", _balance, frozenset({DARK, FLAT, LIGHT})),
    Step("variance", _variance, frozenset({LIGHT})),
    Step("dark", _dark, frozenset({FLAT, LIGHT})),
    Step("flat", _flat, frozenset({LIGHT})),
    Step("illumination", _illumination, frozenset({LIGHT})),
    Step("gain", lambda frame, profile, masters: apply_gain(frame), frozenset({LIGHT})),
    Step("fringe", _fringe, frozenset({LIGHT})),
    Step("hot_pixels", _hot_pixels, frozenset({LIGHT})),
    Step("persistence", _persistence, frozenset({LIGHT})),
    Step("mosaic", _mosaic, frozenset({LIGHT})),
    Step("cosmic_rays", _cosmic_rays, frozenset({LIGHT})),
    Step("trails", _trails, frozenset({LIGHT})),
    Step("fill", lambda frame, profile, masters: fill_pixels(frame, profile.bad_pixels), frozenset({LIGHT})),
)
"""Saturation and bad regions need raw coordinates and raw counts; the overscan must not see values that were
filled in, and what follows it no NaN; crosstalk needs the order in which pixels were read, linearity the
counts of each amplifier above its bias; the variance needs the dark current still in and the flat not yet
divided; cosmic rays need electrons with their sky."""
