"""One small night and its light curves where nothing goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nightflow.simulate import NightPlan, write_night
from nightflow.simulate.plan import CameraPlan
from tests.faults.site import Rows, Site
from tests.faults.soak import Soak

N_LIGHTS = 14
CAMERA = CameraPlan(shape=(576, 576), cosmic_rate=12.0)


@pytest.fixture(scope="session")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a simulated night: 11 calibrations and fourteen lights."""
    folder = tmp_path_factory.mktemp("faults-night")
    write_night(NightPlan.small(n_lights=N_LIGHTS, camera=CAMERA), folder)
    return folder


@pytest.fixture(scope="session")
def undisturbed(night: Path, tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """The light curves of the night in which nothing happens."""
    site = Site(tmp_path_factory.mktemp("undisturbed"), night)
    site.deliver(*site.frames("bias", "dark", "flat", "light"))
    site.command("run", str(site.incoming))
    rows = site.finish()
    assert len({file for file, _, _ in rows}) == N_LIGHTS
    return rows


@pytest.fixture
def soak(request: pytest.FixtureRequest, night: Path, undisturbed: Rows, tmp_path: Path) -> Iterator[Soak]:
    """A night of its own for one fault; how it ended is kept under the name of the test's mark `fault`."""
    made = Soak(tmp_path, night, undisturbed)
    yield made
    made.close()
    marker = request.node.get_closest_marker("fault")
    assert marker is not None, "a soak names its fault"
    made.keep(marker.args[0])
