"""The masters of one light: planned for the time of the night that it is, and built where they have to be."""

from __future__ import annotations

from collections.abc import Callable

from nightflow.detector.master_frame import MasterFrame
from nightflow.errors import MissingCalibration
from nightflow.instruments.header import FrameKind
from nightflow.instruments.profile import CameraProfile
from nightflow.pipeline.master_library import MasterLibrary
from nightflow.pipeline.master_plan import MasterPlan, plan_master
from nightflow.pipeline.night_block import night_is_over
from nightflow.pipeline.survey import key_of_row
from nightflow.pipeline.work import Context
from nightflow.store.models import Frame as FrameRow

__all__ = ["built", "obtain", "plan_for"]


def plan_for(context: Context, kind: FrameKind, frame: FrameRow) -> MasterPlan:
    """Plan the master of a kind for a light: definitive in a batch and once its night is over.

    Raises
    ------
    MissingCalibration
        Nothing fits.
    KeyError
        The frame's camera has no profile.
    """
    profile, now = context.profiles[frame.instrument], context.clock()
    definitive = context.definitive_masters or night_is_over(
        context.database, frame.instrument, frame.night, profile, now
    )
    return plan_master(
        context.database, kind, key_of_row(frame), profile, definitive=definitive, block=frame, now=now
    )


def obtain(context: Context, kind: FrameKind, frame: FrameRow) -> tuple[MasterPlan, MasterFrame]:
    """Return the master of a kind for a light, built now if it has to be, and the plan that it is of.

    Raises
    ------
    MissingCalibration
        Nothing fits, or nothing that fits is usable.
    """
    return built(context.masters, context.profiles[frame.instrument], lambda: plan_for(context, kind, frame))


def built(
    library: MasterLibrary, profile: CameraProfile, plan: Callable[[], MasterPlan]
) -> tuple[MasterPlan, MasterFrame]:
    """Plan, build, and plan again until what is planned stands in the store: vetting may have refused it.

    Parameters
    ----------
    library : MasterLibrary
    profile : CameraProfile
    plan : callable
        Plans with what the store knows at that moment.

    Raises
    ------
    MissingCalibration
        Nothing is left to be planned, or the same plan failed twice.
    """
    tried: set[str] = set()
    while True:
        chosen = plan()
        if chosen.row is not None or chosen.fingerprint in tried:
            return chosen, library.get(chosen, profile)
        tried.add(chosen.fingerprint)
        try:
            library.get(chosen, profile)
        except MissingCalibration:
            # It is in the store as rejected now, or one that it needs is: the next plan does without.
            continue
