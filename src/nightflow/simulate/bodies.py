"""Asteroids for a night, drawn from its seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nightflow.simulate.plan import NightPlan
from nightflow.simulate.scene import Asteroid
from nightflow.simulate.schedule import run_middle

__all__ = ["with_asteroids"]

_STREAM = 1000
"""Far from those of `nightflow.simulate.prepare`: a night with asteroids has the stars of the one without."""


def with_asteroids(plan: NightPlan, number: int) -> NightPlan:
    """Return the plan with asteroids that are in the middle part of the field in the middle of the run.

    They move as those of the main belt and nearer ones do, 5" to 60" an hour, in any direction.

    Parameters
    ----------
    plan : NightPlan
    number : int
        How many.
    """
    rng = np.random.default_rng([plan.seed, _STREAM])
    side = min(plan.camera.shape) * plan.telescope.scale / 3600.0
    middle = run_middle(plan)
    drawn = []
    for count in range(1, number + 1):
        east, north = rng.uniform(-0.25, 0.25, 2) * side
        drawn.append(
            Asteroid(
                name=f"SIM {count}",
                ra=plan.field.ra + east / float(np.cos(np.radians(plan.field.dec))),
                dec=plan.field.dec + north,
                mjd=middle,
                rate=float(10 ** rng.uniform(np.log10(5.0), np.log10(60.0))),
                position_angle=float(rng.uniform(0.0, 360.0)),
                v=float(rng.uniform(12.5, 14.5)),
            )
        )
    return replace(plan, field=replace(plan.field, asteroids=(*plan.field.asteroids, *drawn)))
