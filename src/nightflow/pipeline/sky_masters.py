"""Build illumination and fringe masters of the night's own lights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from nightflow.detector.master_frame import InputFile, MasterFrame, MasterSet
from nightflow.errors import MissingCalibration
from nightflow.instruments.header import FrameKind
from nightflow.instruments.profile import CameraProfile
from nightflow.masters.fringe import build_fringe
from nightflow.masters.sky_flat import build_illumination, sky_levels
from nightflow.pipeline.input_frames import CalibratedLights
from nightflow.pipeline.master_plan import MasterPlan
from nightflow.pipeline.sky_plan import first_chips
from nightflow.store.database import Database

__all__ = ["SKY_BUILDERS", "SkyBuilder", "build_sky_master"]

SkyBuilder = Callable[..., MasterFrame]
"""Makes a master of calibrated lights: (frames, profile, inputs=...).

An illumination also takes ``levels``, the sky's on the first chip of each exposure or why it is not known,
so that the ratio of the chips stays; None: each frame's own.
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
    first_chip_needs: MasterSet,
    inputs: Sequence[InputFile],
    database: Database,
) -> MasterFrame:
    """Calibrate the lights of a plan and make the master of them.

    Parameters
    ----------
    builders : mapping of FrameKind to SkyBuilder
    plan : MasterPlan
        Of kind illumination or fringe.
    profile : CameraProfile
    needs, first_chip_needs : MasterSet
        What the lights, and those of the first chip, are calibrated with.
    inputs : sequence of InputFile
        Names and hashes of the lights.
    database : Database
        Knows the other chips of an exposure, and where its file lies.

    Raises
    ------
    MissingCalibration
        There is no builder for this kind, or too few lights are usable; each that is not is named.
    RetryLater
        The content of a raw file is nowhere now.
    """
    if plan.kind not in builders:
        raise MissingCalibration(f'no master {plan.kind} can be built: set calibration.{plan.kind} = "off"')
    lights = CalibratedLights(database, plan.inputs, profile, needs)
    if plan.kind is FrameKind.FRINGE:
        return builders[plan.kind](lights, profile, inputs=inputs)
    firsts = first_chips(database, plan.kind, plan.inputs)
    calibrated = CalibratedLights(database, firsts, profile, first_chip_needs)
    levels = sky_levels(calibrated, profile) if firsts else None
    return builders[plan.kind](lights, profile, inputs=inputs, levels=levels)
