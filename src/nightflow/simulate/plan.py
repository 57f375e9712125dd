"""What to simulate: the plan of a night, every number with its default, unit and meaning."""

from __future__ import annotations

import dataclasses
import datetime
from dataclasses import dataclass, fields
from typing import Self

from nightflow.errors import ConfigurationError
from nightflow.simulate.instrument_plan import (
    AmplifierPlan,
    CameraPlan,
    Passband,
    TelescopePlan,
    default_passbands,
    quadrants,
)
from nightflow.simulate.sky import BAND_SLOPES
from nightflow.simulate.sky_plan import AtmospherePlan, FieldPlan, SitePlan, TransitPlan

__all__ = [
    "AmplifierPlan",
    "AtmospherePlan",
    "CameraPlan",
    "FieldPlan",
    "NightPlan",
    "Passband",
    "SitePlan",
    "TelescopePlan",
    "TransitPlan",
    "chip_plans",
    "quadrants",
]


@dataclass(frozen=True, kw_only=True)
class NightPlan:
    """One night: a run on one field, with its calibrations.

    Attributes
    ----------
    seed : int
        The same plan gives the same pixels.
    date : str
        Local date of the evening, ISO.
    n_bias, n_dark, n_flat, n_lights : int
        Frames; darks of the lights' exposure time, flats per filter.
    exptime, cadence : float
        Seconds, open shutter and from start to start.
    filters : tuple of str
        Taken in turn.
    run_offset_minutes : float
        Middle of the run after the target's passage of the meridian.
    field, site, telescope, atmosphere, camera : FieldPlan, SitePlan, ...
        The parts, each with a plan of its own.
    transit : TransitPlan or None
        None: the target is constant.
    passbands : dict of str to Passband
        What each filter lets through.
    mosaic : tuple of CameraPlan
        The chips of a camera that has several, in the order of the file's HDUs; ``camera`` counts for nothing
        then. See `nightflow.simulate.mosaic`.
    chip : int
        Which of them this plan is for, counted from 1; 0 for a camera of one chip. See `chip_plans`.
    """

    seed: int = 1
    date: str = "2025-10-24"
    n_bias: int = 7
    n_dark: int = 5
    n_flat: int = 5
    n_lights: int = 72
    exptime: float = 60.0
    cadence: float = 200.0
    filters: tuple[str, ...] = ("R",)
    run_offset_minutes: float = -25.0
    field: FieldPlan = dataclasses.field(default_factory=FieldPlan)
    site: SitePlan = dataclasses.field(default_factory=SitePlan)
    telescope: TelescopePlan = dataclasses.field(default_factory=TelescopePlan)
    atmosphere: AtmospherePlan = dataclasses.field(default_factory=AtmospherePlan)
    camera: CameraPlan = dataclasses.field(default_factory=CameraPlan)
    transit: TransitPlan | None = dataclasses.field(default_factory=TransitPlan)
    passbands: dict[str, Passband] = dataclasses.field(default_factory=default_passbands)
    mosaic: tuple[CameraPlan, ...] = ()
    chip: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated.

        Raises
        ------
        ConfigurationError
            A value is out of bounds; the message names key, value and mend.
        """
        known = sorted(set(self.passbands) & set(BAND_SLOPES))
        for name in self.filters:
            if name not in known:
                raise ConfigurationError(
                    f"filters = {self.filters}: {name!r} is not one of {', '.join(known)}"
                )
        if not self.filters:
            raise ConfigurationError("filters = (): at least one filter is needed")
        if not 0 < self.exptime <= self.cadence:
            raise ConfigurationError(
                f"exptime = {self.exptime}: must be above 0 s and not above the cadence of {self.cadence} s"
            )
        _check_not_negative(self, ("seed", "n_bias", "n_dark", "n_flat", "n_lights"))
        for camera in (self.camera, *self.mosaic):
            _check_camera(camera)
        try:
            datetime.date.fromisoformat(self.date)
        except ValueError as error:
            raise ConfigurationError(f"date = {self.date!r}: give YYYY-MM-DD") from error

    @classmethod
    def small(cls, **changes: object) -> Self:
        """Return a quick night for tests: 768 x 768 pixels, 12 lights over four hours.

        Parameters
        ----------
        **changes
            Fields of the plan that shall differ.
        """
        quick: dict[str, object] = {
            "n_bias": 5,
            "n_dark": 3,
            "n_flat": 3,
            "n_lights": 12,
            "cadence": 1200.0,
            "camera": CameraPlan(shape=(768, 768), cosmic_rate=12.0),
            "field": FieldPlan(faint_limit=17.5),
        }
        unknown = set(changes) - {entry.name for entry in fields(cls)}
        if unknown:
            raise ConfigurationError(f"NightPlan has no {', '.join(sorted(unknown))}")
        return cls(**{**quick, **changes})  # type: ignore[arg-type]


def chip_plans(plan: NightPlan) -> list[NightPlan]:
    """Return a plan for each chip of a mosaic: the same night and sky, another chip."""
    return [
        dataclasses.replace(plan, camera=camera, chip=number)
        for number, camera in enumerate(plan.mosaic, start=1)
    ]


def _check_camera(camera: CameraPlan) -> None:
    if min(camera.shape) < 32:
        raise ConfigurationError(f"camera.shape = {camera.shape}: at least 32 pixels a side")
    count = len(camera.amplifiers)
    read = sum((a.columns[1] - a.columns[0]) * (a.rows[1] - a.rows[0]) for a in camera.amplifiers)
    if count and read != camera.shape[0] * camera.shape[1]:
        raise ConfigurationError(f"camera.amplifiers: together they must read a chip of {camera.shape}")
    if camera.crosstalk and [len(row) for row in camera.crosstalk] != [count] * count:
        raise ConfigurationError(f"camera.crosstalk: give {count} rows of {count} numbers, one an amplifier")


def _check_not_negative(plan: NightPlan, names: tuple[str, ...]) -> None:
    for name in names:
        if getattr(plan, name) < 0:
            raise ConfigurationError(f"{name} = {getattr(plan, name)}: must not be negative")
