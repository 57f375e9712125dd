"""Plans refuse what cannot be simulated."""

from __future__ import annotations

import dataclasses

import pytest

from nightflow.errors import ConfigurationError
from nightflow.simulate.plan import CameraPlan, NightPlan


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"filters": ("Q",)}, "'Q' is not one of B, I, R, V"),
        ({"filters": ()}, "at least one filter"),
        ({"exptime": 0.0}, "exptime = 0.0"),
        ({"exptime": 300.0}, "not above the cadence"),
        ({"n_lights": -1}, "n_lights = -1"),
        ({"seed": -3}, "seed = -3"),
        ({"date": "24.10.2025"}, "YYYY-MM-DD"),
        ({"camera": CameraPlan(shape=(8, 512))}, "camera.shape"),
    ],
)
def test_bad_values_are_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        NightPlan(**changes)  # type: ignore[arg-type]


def test_small_plan_takes_changes() -> None:
    plan = NightPlan.small(seed=7, n_lights=2)
    assert (plan.seed, plan.n_lights, plan.camera.shape) == (7, 2, (768, 768))


def test_small_plan_refuses_unknown_fields() -> None:
    with pytest.raises(ConfigurationError, match="no n_light"):
        NightPlan.small(n_light=2)


def test_plans_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        NightPlan().seed = 2  # type: ignore[misc]
