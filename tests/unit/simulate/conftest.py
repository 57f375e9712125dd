"""Nights that several tests look at."""

from __future__ import annotations

import pytest

from nightflow.simulate.plan import NightPlan
from nightflow.simulate.prepare import Night, prepare_night


@pytest.fixture(scope="session")
def small_night() -> Night:
    """The quick night, settled but not rendered."""
    return prepare_night(NightPlan.small())
