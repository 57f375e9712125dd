"""When each frame of the night is taken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np

from nightflow.errors import ConfigurationError
from nightflow.simulate import ephemeris
from nightflow.simulate.plan import NightPlan

__all__ = ["ScheduledFrame", "schedule_night"]

_SECONDS_A_DAY = 86400.0
_SIDEREAL_DEGREES_A_DAY = 360.98564736629
_MJD_OF_ORDINAL_0 = -678576
_FLAT_SUN_ALTITUDE = -4.0
_DARK_SUN_ALTITUDE = -12.0
_LOWEST_ALTITUDE = 20.0
_FLAT_EXPTIME = 4.0


@dataclass(frozen=True, kw_only=True)
class ScheduledFrame:
    """One opening of the shutter.

    Attributes
    ----------
    number : int
        1-based, in order of time.
    kind : str
        bias, dark, flat or light.
    filter : str
        "" where the shutter stays closed.
    exptime : float
        Seconds.
    mjd_start : float
        UTC.
    """

    number: int
    kind: str
    filter: str
    exptime: float
    mjd_start: float

    @property
    def mjd_mid(self) -> float:
        """Middle of the exposure, UTC."""
        return self.mjd_start + self.exptime / 2 / _SECONDS_A_DAY


def meridian_passage(plan: NightPlan) -> float:
    """Return the UTC MJD at which the target crosses the meridian nearest to local midnight."""
    midnight = date.fromisoformat(plan.date).toordinal() + _MJD_OF_ORDINAL_0 + 1 - plan.site.longitude / 360.0
    angle = ephemeris.hour_angle(plan.field.ra, plan.field.dec, midnight, plan.site.longitude)
    return float(midnight - angle / _SIDEREAL_DEGREES_A_DAY)


def run_middle(plan: NightPlan) -> float:
    """Return the UTC MJD of the middle of the run of lights."""
    return meridian_passage(plan) + plan.run_offset_minutes / 1440.0


def schedule_night(plan: NightPlan) -> list[ScheduledFrame]:
    """Return all frames in order of time: bias and dark in the afternoon, flats at dusk, lights.

    Raises
    ------
    ConfigurationError
        The field is too low, or the Sun too high, during the run.
    """
    first_light = run_middle(plan) - plan.n_lights * plan.cadence / _SECONDS_A_DAY / 2
    _check_observable(plan, first_light)
    dusk = _dusk(plan, first_light)
    exposures = [*_calibrations(plan, dusk), *_lights(plan, first_light)]
    return [
        ScheduledFrame(number=number, kind=kind, filter=band, exptime=exptime, mjd_start=mjd)
        for number, (kind, band, exptime, mjd) in enumerate(exposures, start=1)
    ]


def _lights(plan: NightPlan, first_light: float) -> Iterator[tuple[str, str, float, float]]:
    for row in range(plan.n_lights):
        band = plan.filters[row % len(plan.filters)]
        yield "light", band, plan.exptime, first_light + row * plan.cadence / _SECONDS_A_DAY


def _calibrations(plan: NightPlan, dusk: float) -> Iterator[tuple[str, str, float, float]]:
    darks_start = dusk - (plan.n_dark * (plan.exptime + 15.0) + 600.0) / _SECONDS_A_DAY
    bias_start = darks_start - (plan.n_bias * 15.0 + 60.0) / _SECONDS_A_DAY
    for row in range(plan.n_bias):
        yield "bias", "", 0.0, bias_start + row * 15.0 / _SECONDS_A_DAY
    for row in range(plan.n_dark):
        yield "dark", "", plan.exptime, darks_start + row * (plan.exptime + 15.0) / _SECONDS_A_DAY
    for row in range(plan.n_flat * len(plan.filters)):
        yield "flat", plan.filters[row // plan.n_flat], _FLAT_EXPTIME, dusk + row * 20.0 / _SECONDS_A_DAY


def _sun_altitude(plan: NightPlan, mjd: float) -> float:
    # The Sun's place is of date already, and precession is left alone: 0.4 deg hardly matter here.
    ra, dec = ephemeris.sun_position(mjd)
    return float(ephemeris.altitude(ra, dec, mjd, plan.site.latitude, plan.site.longitude))


def _dusk(plan: NightPlan, first_light: float) -> float:
    """Return the time before the first light at which the sky is right for flats."""
    for minutes in np.arange(0.0, 16 * 60.0, 2.0):
        if _sun_altitude(plan, first_light - minutes / 1440.0) > _FLAT_SUN_ALTITUDE:
            return float(first_light - minutes / 1440.0)
    raise ConfigurationError(f"date = {plan.date}: the Sun does not set at latitude {plan.site.latitude}")


def _check_observable(plan: NightPlan, first_light: float) -> None:
    last_light = first_light + plan.n_lights * plan.cadence / _SECONDS_A_DAY
    for mjd in (first_light, last_light):
        height = ephemeris.altitude(
            plan.field.ra, plan.field.dec, mjd, plan.site.latitude, plan.site.longitude
        )
        if height < _LOWEST_ALTITUDE or _sun_altitude(plan, mjd) > _DARK_SUN_ALTITUDE:
            raise ConfigurationError(
                f"date = {plan.date}, {plan.n_lights} lights every {plan.cadence:g} s: at MJD {mjd:.4f} the "
                f"field stands at {height:.0f} deg and the Sun at {_sun_altitude(plan, mjd):.0f} deg; choose "
                "a date on which the field culminates near midnight, or a shorter run"
            )
