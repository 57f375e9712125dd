"""Has anything changed since an exposure was concluded? If not, it is left as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from nightflow.config import MissingCalibrationPolicy
from nightflow.errors import MissingCalibration
from nightflow.instruments.header import FrameKind
from nightflow.pipeline.master_plan import wanted_kinds
from nightflow.pipeline.obtain import plan_for
from nightflow.pipeline.optics import Offers
from nightflow.pipeline.reducer import Reducer
from nightflow.store.deaths import is_given_up
from nightflow.store.frames import frames_of
from nightflow.store.ledger import TERMINAL
from nightflow.store.models import Exposure, State
from nightflow.store.models import Frame as FrameRow
from nightflow.store.overview import current_reduction, get_exposure

__all__ = ["is_current", "is_duplicate", "is_unchanged", "planned_masters"]


def is_unchanged(reducer: Reducer, exposure_id: int, offers: Offers | None = None) -> bool:
    """Return whether reducing an exposure again would give what the store has already.

    It would where the software and the camera's profile are those of the last time, and, for light frames,
    the masters that would be chosen are those that were used, and the distortions that they would be offered
    those that they were. A failure is worth another try, unless whoever had it in work died, each time; so is
    a frame that is held, or has no verified WCS or zero point, when catalogues, index files, calibrations or
    policy are not what they were.

    Parameters
    ----------
    reducer : Reducer
    exposure_id : int
    offers : Offers, optional
        The same one for many exposures, so that each camera's distortions are read once.
    """
    exposure = get_exposure(reducer.database, exposure_id)
    if exposure is None or exposure.state not in TERMINAL:
        return False
    if exposure.state == State.DUPLICATE or is_given_up(exposure):
        return True
    if exposure.state == State.FAILED:
        return False
    return _is_of_this_plan(reducer, exposure, offers, (reducer.context.missing_calibration,))


def is_current(reducer: Reducer, exposure_id: int, offers: Offers | None = None) -> bool:
    """Return whether frames of a settled exposure would be of one plan if only some were reduced now.

    As `is_unchanged`; but a failure is no reason to try the others, and nor is it whether a missing
    calibration was waited for: the live service does, a run does not.
    """
    exposure = get_exposure(reducer.database, exposure_id)
    if exposure is None or exposure.state not in TERMINAL or exposure.state == State.DUPLICATE:
        return False
    return _is_of_this_plan(reducer, exposure, offers, get_args(MissingCalibrationPolicy))


def _is_of_this_plan(
    reducer: Reducer,
    exposure: Exposure,
    offers: Offers | None,
    policies: Sequence[MissingCalibrationPolicy],
) -> bool:
    frames = frames_of(reducer.database, exposure.id or 0)
    offered = (offers or Offers(reducer.database)).of(frames)
    known = {
        reducer.fingerprints.conclusion(frames, exposure.state, offered, policy=policy) for policy in policies
    }
    return exposure.plan_fingerprint in known and all(_same_masters(reducer, frame) for frame in frames)


def is_duplicate(reducer: Reducer, exposure_id: int) -> bool:
    """Return whether an exposure has the content of another one: there is never anything to do."""
    exposure = get_exposure(reducer.database, exposure_id)
    return exposure is not None and exposure.state == State.DUPLICATE


def _same_masters(reducer: Reducer, frame: FrameRow) -> bool:
    if frame.kind != FrameKind.LIGHT or frame.state != State.DONE:
        return True
    reduction = current_reduction(reducer.database, frame.id or 0)
    return reduction is not None and reduction.masters == planned_masters(reducer, frame)


def planned_masters(reducer: Reducer, frame: FrameRow) -> dict[str, str]:
    """Return kind -> fingerprint of the masters that a frame would get now; what is missing is left out."""
    profile = reducer.context.profiles.get(frame.instrument)
    planned: dict[str, str] = {}
    if profile is None:
        return planned
    for kind in wanted_kinds(profile, frame.steps_done.split()):
        try:
            plan = plan_for(reducer.context, kind, frame)
        except MissingCalibration:
            continue
        planned[str(kind)] = plan.fingerprint
    return planned
