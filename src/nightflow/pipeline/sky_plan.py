"""Plan illumination and fringe masters: which lights of a night they are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nightflow.errors import MissingCalibration
from nightflow.instruments.header import FrameKind
from nightflow.instruments.profile import CameraProfile
from nightflow.masters.keys import MasterKey, mismatches
from nightflow.pipeline.master_plan import MasterPlan, plan_needs, planned_fingerprint
from nightflow.pipeline.raw_content import out_of_reach
from nightflow.pipeline.survey import identity_of, key_of_row
from nightflow.store.blocks import SkyLight, first_chip, night_lights
from nightflow.store.database import Database
from nightflow.store.masters import CalibrationFrame, find_master
from nightflow.store.models import Frame as FrameRow

__all__ = ["first_chips", "plan_first_chip", "plan_sky", "with_different_pointings"]


def plan_sky(database: Database, kind: FrameKind, light: FrameRow, profile: CameraProfile) -> MasterPlan:
    """Plan the master of a kind that a light's night gives, for its chip and filter.

    Parameters
    ----------
    database : Database
    kind : FrameKind
        Illumination or fringe.
    light : Frame
        Any light of that night, chip and filter.
    profile : CameraProfile
        Of its camera.

    Raises
    ------
    MissingCalibration
        Fewer than ``masters.minimum_sky_inputs`` usable lights with different pointings.
    """
    wanted, settings = key_of_row(light), profile.masters
    alike = [
        one
        for one in night_lights(database, light.instrument, light.night)
        if not mismatches(kind, wanted, _as(kind, one), settings)
    ]
    plan = _plan_of(database, kind, light, alike, profile)
    if not out_of_reach(database, plan.inputs):
        return plan
    away = {identity_of(one) for one in out_of_reach(database, alike)}
    return _plan_of(database, kind, light, [one for one in alike if identity_of(one) not in away], profile)


def _plan_of(
    database: Database, kind: FrameKind, light: FrameRow, alike: Sequence[SkyLight], profile: CameraProfile
) -> MasterPlan:
    settings = profile.masters
    inputs = with_different_pointings(alike, settings.sky_offset)
    if len(inputs) < settings.minimum_sky_inputs:
        raise MissingCalibration(
            f"no {kind} in {light.filter} for {light.instrument} of {light.night}: "
            f"{len(inputs)} of {len(alike)} usable lights have pointings of their own, "
            f"{settings.minimum_sky_inputs} are needed (masters.minimum_sky_inputs)"
        )
    needs = plan_needs(database, kind, [key_of_row(one.frame) for one in inputs], profile, definitive=True)
    first = plan_first_chip(database, kind, inputs, profile)
    made = planned_fingerprint(kind, profile, needs, inputs, first)
    row = find_master(database, made)
    return MasterPlan(
        kind=kind,
        fingerprint=made,
        row=row,
        inputs=() if row is not None else tuple(inputs),
        needs=needs,
        first_chip_needs=first,
    )


def plan_first_chip(
    database: Database, kind: FrameKind, inputs: Sequence[CalibrationFrame], profile: CameraProfile
) -> dict[FrameKind, MasterPlan]:
    """Plan what the first chip of some exposures is calibrated with, whose sky sets an illumination's level.

    Empty for other kinds, and where the inputs are of the first chip themselves.
    """
    firsts = first_chips(database, kind, inputs)
    if not firsts:
        return {}
    return plan_needs(database, kind, [key_of_row(one.frame) for one in firsts], profile, definitive=True)


def first_chips(
    database: Database, kind: FrameKind, inputs: Sequence[CalibrationFrame]
) -> list[CalibrationFrame]:
    """Return the first chip of each exposure; none where the inputs are those, or for another kind."""
    if kind is not FrameKind.ILLUMINATION:
        return []
    firsts = [first_chip(database, one) for one in inputs]
    same = all(first.frame.id == one.frame.id for first, one in zip(firsts, inputs, strict=True))
    return [] if same else firsts


def with_different_pointings(lights: Sequence[SkyLight], offset: float) -> list[SkyLight]:
    """Return, in order, the lights that are ``offset`` arcsec or more away from all that were taken before.

    A light whose pointing is not known is left out: its stars may stand where another's do.
    """
    taken: list[SkyLight] = []
    for light in lights:
        if light.ra is None or light.dec is None:
            continue
        if all(_separation(light, other) >= offset for other in taken):
            taken.append(light)
    return taken


def _separation(one: SkyLight, other: SkyLight) -> float:
    """Return the distance of two pointings, arcsec (haversine)."""
    ra, dec, other_ra, other_dec = np.radians([one.ra or 0, one.dec or 0, other.ra or 0, other.dec or 0])
    half = (
        np.sin((dec - other_dec) / 2) ** 2
        + np.cos(dec) * np.cos(other_dec) * np.sin((ra - other_ra) / 2) ** 2
    )
    return float(np.degrees(2 * np.arcsin(np.sqrt(half))) * 3600.0)


def _as(kind: FrameKind, light: SkyLight) -> MasterKey:
    return replace(key_of_row(light.frame), kind=kind)
