"""What a profile asks of the steps, said once for the chain and for the fused pass."""

from __future__ import annotations

from nightflow.detector.dark import dark_scale
from nightflow.detector.master_frame import MasterFrame, MasterSet
from nightflow.detector.overscan import OVERSCAN_NOT_DONE
from nightflow.detector.overscan_levels import LevelCurve
from nightflow.frame import Frame
from nightflow.instruments.profile import CameraProfile

__all__ = ["bias_in_dark", "bias_share", "left_out", "left_out_warning", "level_curve", "level_removed"]


def level_curve(profile: CameraProfile) -> LevelCurve:
    """Return the curve of the overscan that a profile asks for."""
    settings = profile.calibration
    return LevelCurve(
        order=settings.overscan_order, knots=settings.overscan_knots, clip=settings.overscan_clip
    )


def level_removed(frame: Frame, profile: CameraProfile) -> bool:
    """Return whether the overscan took the bias level away (its structure may still be there)."""
    if "overscan" in frame.header.steps_done:
        return True
    asked = profile.calibration.overscan != "off" and frame.header.has_overscan
    return asked and OVERSCAN_NOT_DONE not in frame.history


def bias_in_dark(profile: CameraProfile, masters: MasterSet) -> MasterFrame | None:
    """Return the master dark where it is to be subtracted and still holds the bias."""
    dark = masters.dark
    if profile.calibration.dark == "off" or dark is None or not dark.header.bias_included:
        return None
    return dark


def bias_share(frame: Frame, profile: CameraProfile, masters: MasterSet) -> float:
    """Return the share of the master bias's variance that is left when the dark is subtracted, too.

    A dark D, scaled by s, that was made with the same bias B holds its noise with the other sign: of
    L - B - s (D - B) only (1 - s) B remains. One that was made with another bias brings in the noise of that,
    for which the frame's own bias stands.

    Raises
    ------
    MissingCalibration
        The dark does not fit in exposure.
    """
    bias, dark = masters.bias, masters.dark
    if bias is None or dark is None or profile.calibration.dark == "off" or "dark" in frame.header.steps_done:
        return 1.0
    calibration = profile.calibration
    scale = dark_scale(frame, dark, bias, calibration.dark_scaling, profile.masters.exposure_tolerance)
    made_with = bias.fingerprint if dark.header.bias_included else dark.made_with.get("bias", "")
    if not made_with:
        return 1.0
    return (1 - scale) ** 2 if made_with == bias.fingerprint else 1 + scale**2


def left_out(frame: Frame, kind: str) -> Frame:
    """Return the frame with the word that a step had no master."""
    return frame.after(f"{kind}: not done", left_out_warning(kind))


def left_out_warning(kind: str) -> str:
    """Return the word itself."""
    return f"{kind}: no master {kind}; not corrected"
