"""Build illumination and fringe masters of the night's own lights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from nightflow.detector.master_frame import InputFile, MasterFrame, MasterSet
from nightflow.errors import FrameRejected, MissingCalibration
from nightflow.flags import UNUSABLE
from nightflow.frame import Frame
from nightflow.instruments.header import FrameKind
from nightflow.instruments.profile import CameraProfile
from nightflow.masters.fringe import build_fringe
from nightflow.masters.sky_flat import build_illumination
from nightflow.pipeline.input_frames import CalibratedLights
from nightflow.pipeline.master_plan import MasterPlan, plan_needs
from nightflow.pipeline.survey import key_of_row
from nightflow.store.blocks import first_chip
from nightflow.store.database import Database

__all__ = ["SKY_BUILDERS", "SkyBuilder", "build_sky_master"]

Getter = Callable[[MasterPlan, CameraProfile], MasterFrame]


SkyBuilder = Callable[..., MasterFrame]
"""Makes a master of calibrated lights: (frames, profile, inputs=...).

An illumination also takes ``levels``, the sky's on the first chip of each exposure, so that the ratio of the
chips stays; None: each frame's own.
"""


SKY_BUILDERS: dict[FrameKind, SkyBuilder] = {
    FrameKind.ILLUMINATION: build_illumination,
    FrameKind.FRINGE: build_fringe,
}
"""Kind -> what builds it."""


def build_sky_master(
    builders: Mapping[FrameKind, SkyBuilder],
    plan: MasterPlan,
    profile: CameraProfile,
    needs: MasterSet,
    inputs: Sequence[InputFile],
    database: Database,
    get: Getter,
) -> MasterFrame:
    """Calibrate the lights of a plan and make the master of them.

    Parameters
    ----------
    builders : mapping of FrameKind to SkyBuilder
    plan : MasterPlan
        Of kind illumination or fringe.
    profile : CameraProfile
    needs : MasterSet
        What the lights are calibrated with.
    inputs : sequence of InputFile
        Names and hashes of the lights.
    database : Database
        Knows the other chips of an exposure.
    get : callable
        Returns the master of a plan: those of the first chip.

    Raises
    ------
    MissingCalibration
        There is no builder for this kind, or a light cannot be calibrated any more.
    """
    if plan.kind not in builders:
        raise MissingCalibration(f'no master {plan.kind} can be built: set calibration.{plan.kind} = "off"')
    try:
        levels = _first_chip_levels(plan, profile, database, get)
        lights = CalibratedLights(plan.inputs, profile, needs)
        if plan.kind is FrameKind.FRINGE:
            return builders[plan.kind](lights, profile, inputs=inputs)
        return builders[plan.kind](lights, profile, inputs=inputs, levels=levels)
    except FrameRejected as error:
        raise MissingCalibration(f"master {plan.kind} for {profile.name}: {error}") from error


def _first_chip_levels(
    plan: MasterPlan, profile: CameraProfile, database: Database, get: Getter
) -> list[float] | None:
    """Return the level of the sky on the first chip of each exposure; None where that is the plan's own."""
    if plan.kind is not FrameKind.ILLUMINATION:
        return None
    firsts = [first_chip(database, one) for one in plan.inputs]
    if all(first.frame.id == one.frame.id for first, one in zip(firsts, plan.inputs, strict=True)):
        return None
    keys = [key_of_row(one.frame) for one in firsts]
    planned = plan_needs(database, plan.kind, keys, profile, definitive=True)
    masters = MasterSet.of({str(kind): get(need, profile) for kind, need in planned.items()})
    return [_level(frame) for frame in CalibratedLights(firsts, profile, masters)]


def _level(frame: Frame) -> float:
    good = frame.data if frame.flags is None else frame.data[(frame.flags & int(UNUSABLE)) == 0]
    return float(np.median(good))
