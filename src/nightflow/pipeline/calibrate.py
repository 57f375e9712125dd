"""Step `calibrate`: from raw counts to electrons."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np

from nightflow.detector.chain import MasterSet
from nightflow.detector.chain import calibrate as run_chain
from nightflow.detector.choices import left_out_warning
from nightflow.detector.master_frame import MasterFrame
from nightflow.detector.persistence import saturated_pixels
from nightflow.errors import CalibrationAway, MissingCalibration
from nightflow.flag_planes import carrying, count_carrying
from nightflow.flags import Flag
from nightflow.frame import Frame
from nightflow.instruments.header import FrameHeader, FrameKind
from nightflow.masters.photon_transfer import doubts
from nightflow.pipeline.identify import read_frame
from nightflow.pipeline.master_plan import policy_of, wanted_kinds
from nightflow.pipeline.obtain import obtain
from nightflow.pipeline.saturated_before import saturated_before
from nightflow.pipeline.work import Context, Work
from nightflow.store.frames import get_frame

__all__ = ["calibrate"]


def calibrate(work: Work, context: Context) -> dict[str, Any]:
    """Read the pixels, choose the masters (build what is missing), run the detector chain.

    Raises
    ------
    FrameRejected
        The pixels are unusable, or those of another file.
    MissingCalibration
        A master that the profile requires is missing, and the policy is to wait for it.
    """
    frame = _pixels(work)
    masters = replace(MasterSet.of(_masters(work, context)), saturated_before=saturated_before(work, context))
    work.masters = masters.fingerprints
    work.warnings.extend(_wrong_conversion(work.header, masters.flat or masters.bias))
    work.frame = run_chain(frame, work.profile, masters, context.settings.engine)
    # Why a master is missing was said already, with the nearest candidates.
    known = {left_out_warning(str(kind)) for kind in wanted_kinds(work.profile)}
    work.warnings.extend(warning for warning in work.frame.warnings if warning not in known)
    _remember_saturation(work, context)
    work.persistence = _mask_of_persistence(work)
    assert work.frame.flags is not None
    return {
        "masters": {kind: fingerprint[:12] for kind, fingerprint in work.masters.items()},
        "n_cosmic": count_carrying(work.frame.flags, Flag.COSMIC_RAY),
    }


def _pixels(work: Work) -> Frame:
    if work.content is None:
        return read_frame(work.path, work.header)
    with work.content.unchanged():
        return read_frame(work.path, work.header)


def _mask_of_persistence(work: Work) -> str:
    """Return the fingerprint of the pixels that may still glow; "" where there are none."""
    assert work.frame is not None
    if work.frame.flags is None or work.profile.bad_pixels.persistence_seconds <= 0:
        return ""
    places = np.flatnonzero(carrying(work.frame.flags, Flag.PERSISTENCE))
    return hashlib.sha256(places.tobytes()).hexdigest() if places.size else ""


def _remember_saturation(work: Work, context: Context) -> None:
    """Keep what this exposure saturated for those that come after it."""
    if work.frame is None or work.profile.bad_pixels.persistence_seconds <= 0:
        return
    saturated = saturated_pixels(work.frame)
    if saturated is not None:
        context.saturation.remember(work.header, saturated)


def _masters(work: Work, context: Context) -> dict[str, MasterFrame]:
    found, lacking = {}, []
    for kind in wanted_kinds(work.profile, work.header.steps_done):
        try:
            found[str(kind)] = _master(work, context, kind)
        except MissingCalibration as error:
            if policy_of(work.profile, kind) == "required" and context.missing_calibration == "hold":
                lacking.append(error)
            else:
                work.warnings.append(str(error))
    if lacking:
        # All of them in one reason, and tried again by itself where any of it is only out of reach.
        away = any(isinstance(error, CalibrationAway) for error in lacking)
        raise (CalibrationAway if away else MissingCalibration)("; ".join(map(str, lacking)))
    return found


def _wrong_conversion(header: FrameHeader, measured: MasterFrame | None) -> tuple[str, ...]:
    """Return what the flat, or without one the bias, says against the gain and read noise in use.

    Error bars rest on those. That the header alone is wrong is said once, on the master.
    """
    if measured is None:
        return ()
    return doubts(replace(header, header_gain=None, header_read_noise=None), measured.photon_transfer)


def _master(work: Work, context: Context, kind: FrameKind) -> MasterFrame:
    plan, master = obtain(context, kind, get_frame(context.database, work.frame_id))
    if plan.row is not None and plan.row.state == "provisional":
        work.warnings.append(f"{kind}: master {plan.fingerprint[:12]} is provisional: {plan.row.reason}")
    return master
