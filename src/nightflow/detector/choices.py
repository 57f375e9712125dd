"""What a profile asks of the steps, said once for the chain and for the fused pass."""

from __future__ import annotations

from nightflow.detector.master_frame import MasterFrame, MasterSet
from nightflow.detector.overscan_levels import LevelCurve
from nightflow.frame import Frame
from nightflow.instruments.profile import CameraProfile

__all__ = ["bias_in_dark", "left_out", "left_out_warning", "level_curve", "level_removed"]


def level_curve(profile: CameraProfile) -> LevelCurve:
    """Return the curve of the overscan that a profile asks for."""
    settings = profile.calibration
    return LevelCurve(
        order=settings.overscan_order, knots=settings.overscan_knots, clip=settings.overscan_clip
    )


def level_removed(frame: Frame, profile: CameraProfile) -> bool:
    """Return whether the overscan took the bias level away (its structure may still be there)."""
    return profile.calibration.overscan != "off" and frame.header.has_overscan


def bias_in_dark(profile: CameraProfile, masters: MasterSet) -> MasterFrame | None:
    """Return the master dark where it is to be subtracted and still holds the bias."""
    dark = masters.dark
    if profile.calibration.dark == "off" or dark is None or not dark.header.bias_included:
        return None
    return dark


def left_out(frame: Frame, kind: str) -> Frame:
    """Return the frame with the word that a step had no master."""
    return frame.after(f"{kind}: not done", left_out_warning(kind))


def left_out_warning(kind: str) -> str:
    """Return the word itself."""
    return f"{kind}: no master {kind}; not corrected"
