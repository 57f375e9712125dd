"""The course of a night, settled before the first frame: stars, chip, weather, pointing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from nightflow.errors import ConfigurationError
from nightflow.simulate import ephemeris
from nightflow.simulate.atmosphere import Weather, draw_weather, wander
from nightflow.simulate.catalog import make_catalog
from nightflow.simulate.detector import Detector, make_detector
from nightflow.simulate.optics import Pointing, StarShape, draw_pointings, draw_shapes, stay_on_chips
from nightflow.simulate.plan import NightPlan
from nightflow.simulate.scene import LightCurve, Scene, Sinusoid
from nightflow.simulate.schedule import ScheduledFrame, run_middle, schedule_night
from nightflow.simulate.sky import Stars, draw_field
from nightflow.simulate.transit import Transit
from nightflow.simulate.truth import NightTruth

__all__ = ["LightConditions", "Night", "field_catalog", "frame_stream", "night_truth", "prepare_night"]

Array = NDArray[np.float64]

_BIAS_HOURS = 2.0
_STREAMS = ("field", "detector", "weather", "pointing", "shape", "bias", "variables", "catalog")
_STREAMS_OF_A_CHIP = ("detector", "bias")
_MARGIN = 16.0
"""Pixels between a variable and the edges, so that no aperture round it is cut."""


@dataclass(frozen=True, kw_only=True)
class LightConditions:
    """All that a light frame needs beside the scene."""

    pointing: Pointing
    shape: StarShape
    airmass: float
    cloud: float
    sky_factor: float
    bjd_tdb: float


@dataclass(frozen=True, kw_only=True)
class Night:
    """A night whose course is settled; any of its frames can be rendered, in any order.

    Attributes
    ----------
    plan : NightPlan
        What was asked for.
    scene : Scene
        The sky at the epoch of the night.
    detector : Detector
        The chip.
    transit : Transit or None
        The target's.
    schedule : list of ScheduledFrame
        In order of time.
    bias_levels : ndarray, shape (n_frames,)
        ADU.
    lights : dict of int to LightConditions
        Number of a light frame -> its conditions.
    """

    plan: NightPlan
    scene: Scene
    detector: Detector
    transit: Transit | None
    schedule: list[ScheduledFrame]
    bias_levels: Array
    lights: dict[int, LightConditions]


def prepare_night(plan: NightPlan) -> Night:
    """Settle the course of a night: stars, chip, weather, pointing.

    Raises
    ------
    ConfigurationError
        The field cannot be observed on that date, it has fewer stars that may vary than were asked for, or
        the plan is that of a whole mosaic.
    """
    if plan.mosaic and not plan.chip:
        raise ConfigurationError(
            "mosaic: each of its chips is a night of its own; see nightflow.simulate.mosaic"
        )
    schedule = schedule_night(plan)
    transit = _transit(plan)
    hours = np.array([frame.mjd_mid for frame in schedule]) * 24.0
    lights = _light_conditions(plan, [frame for frame in schedule if frame.kind == "light"])
    drift = plan.camera.bias_drift * wander(_stream(plan, "bias"), hours, _BIAS_HOURS)
    return Night(
        plan=plan,
        scene=_scene(plan, transit, [light.pointing for light in lights.values()]),
        detector=make_detector(_stream(plan, "detector"), plan.camera, plan.telescope.vignetting),
        transit=transit,
        schedule=schedule,
        bias_levels=plan.camera.bias_level + drift,
        lights=lights,
    )


def night_truth(night: Night) -> NightTruth:
    """Return the truth of a night of which no frame is rendered yet."""
    return NightTruth(plan=night.plan, scene=night.scene, detector=night.detector, transit=night.transit)


def field_catalog(night: Night) -> Table:
    """Return the catalogue that an observer of this field would have; see `make_catalog`."""
    return make_catalog(
        _stream(night.plan, "catalog"), night.scene.stars, night.plan.field, night.plan.filters
    )


def _stream(plan: NightPlan, purpose: str) -> np.random.Generator:
    """Return a random stream of its own for each purpose, so that a change of one leaves the others.

    The chips of a mosaic have faults and levels of their own under one sky.
    """
    chip = [plan.chip] if plan.chip and purpose in _STREAMS_OF_A_CHIP else []
    return np.random.default_rng([plan.seed, _STREAMS.index(purpose), *chip])


def frame_stream(plan: NightPlan, number: int) -> np.random.Generator:
    """Return the random stream of one frame, whatever was rendered before it."""
    return np.random.default_rng([plan.seed, len(_STREAMS), number, *([plan.chip] if plan.chip else [])])


def _transit(plan: NightPlan) -> Transit | None:
    if plan.transit is None:
        return None
    mid_mjd = np.array([run_middle(plan) + plan.transit.offset_minutes / 1440.0])
    return Transit(
        mid_bjd=float(ephemeris.barycentric_julian_date(mid_mjd, plan.field.ra, plan.field.dec)[0]),
        depth=plan.transit.depth,
        duration_hours=plan.transit.duration_hours,
        impact=plan.transit.impact,
        u1=plan.transit.u1,
        u2=plan.transit.u2,
    )


def _scene(plan: NightPlan, transit: Transit | None, pointings: Sequence[Pointing]) -> Scene:
    field = plan.field
    stars = draw_field(
        _stream(plan, "field"),
        ra=field.ra,
        dec=field.dec,
        half_width=field.half_width,
        bright_file=field.bright_file,
        bright_limit=field.bright_limit,
        faint_limit=field.faint_limit,
        density=field.density,
        target_v=field.target_v,
        target_v_r=field.target_v_r,
    ).at_epoch(2000.0 + (run_middle(plan) - 51544.5) / 365.25)
    curves: dict[int, LightCurve] = dict(_variables(plan, stars, pointings))
    if transit is not None:
        curves[int(np.argmax(stars.is_target))] = transit
    return Scene(stars=stars, light_curves=curves, movers=field.asteroids)


def _variables(
    plan: NightPlan, stars: Stars, pointings: Sequence[Pointing]
) -> Iterator[tuple[int, Sinusoid]]:
    """Draw the stars that pulsate among those that are on every light; the chips of a mosaic share them."""
    number = plan.field.n_variables
    if not number:
        return
    seen = stay_on_chips(pointings, plan.mosaic or (plan.camera,), stars.ra, stars.dec, _MARGIN)
    eligible = np.flatnonzero(seen & (stars.v > 11.0) & (stars.v < 14.0) & ~stars.is_target)
    if number > len(eligible):
        raise ConfigurationError(
            f"field.n_variables = {number}: {len(eligible)} stars of V = 11 to 14 are on every light; ask "
            "for no more than these, or for a larger chip"
        )
    rng = _stream(plan, "variables")
    for row in rng.choice(eligible, number, replace=False):
        yield (
            int(row),
            Sinusoid(amplitude=float(rng.uniform(0.05, 0.15)), period_hours=float(rng.uniform(1.5, 6.0))),
        )


def _light_conditions(plan: NightPlan, lights: list[ScheduledFrame]) -> dict[int, LightConditions]:
    if not lights:
        return {}
    mjd = np.array([frame.mjd_mid for frame in lights])
    site, field = plan.site, plan.field
    airmass = ephemeris.airmass(ephemeris.altitude(field.ra, field.dec, mjd, site.latitude, site.longitude))
    weather = draw_weather(_stream(plan, "weather"), plan.atmosphere, mjd, airmass)
    hour_angle = ephemeris.hour_angle(field.ra, field.dec, mjd, site.longitude)
    pointings = draw_pointings(
        _stream(plan, "pointing"), plan.telescope, plan.camera, (field.ra, field.dec), hour_angle / 15.0
    )
    shapes = draw_shapes(_stream(plan, "shape"), plan.telescope, (mjd - mjd[0]) * 24.0, weather.seeing)
    bjd = ephemeris.barycentric_julian_date(mjd, field.ra, field.dec)
    return {
        frame.number: _conditions(
            pointings[row], shapes[row], weather, row, float(airmass[row]), float(bjd[row])
        )
        for row, frame in enumerate(lights)
    }


def _conditions(
    pointing: Pointing, shape: StarShape, weather: Weather, row: int, airmass: float, bjd: float
) -> LightConditions:
    return LightConditions(
        pointing=pointing,
        shape=shape,
        airmass=airmass,
        cloud=float(weather.cloud[row]),
        sky_factor=float(weather.sky_factor[row]),
        bjd_tdb=bjd,
    )
