"""One small night and its light curves where nothing goes wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightflow.simulate import NightPlan, write_night
from tests.faults.site import Rows, Site

N_LIGHTS = 12


@pytest.fixture(scope="session")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a simulated night: 11 calibrations and a dozen lights."""
    folder = tmp_path_factory.mktemp("faults-night")
    write_night(NightPlan.small(n_lights=N_LIGHTS), folder)
    return folder


@pytest.fixture(scope="session")
def undisturbed(night: Path, tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """The light curves of the night in which nothing happens."""
    site = Site(tmp_path_factory.mktemp("undisturbed"), night)
    frames = site.frames("bias", "dark", "flat", "light")
    site.start()
    try:
        site.deliver(*frames)
        site.wait_until_settled([path.name for path in frames])
        site.stop()
    finally:
        site.kill()
    rows = site.finish()
    assert len({file for file, _, _ in rows}) == N_LIGHTS
    return rows
