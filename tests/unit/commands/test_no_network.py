"""A night in an empty network namespace: what was fetched before is all there is, and all that is needed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from nightflow.catalogs import online
from nightflow.catalogs.local import separation
from nightflow.catalogs.routes import Route
from nightflow.commands import sky
from tests.unit.commands.conftest import LIGHTS, NIGHT, TARGET, Observatory

ISOLATED = ("unshare", "--map-root-user", "--net")
CONE = ("--ra", str(TARGET[0]), "--dec", str(TARGET[1]), "--radius", "1.0", "--limit-mag", "14")


def can_be_isolated() -> bool:
    if shutil.which(ISOLATED[0]) is None:
        return False
    return subprocess.run([*ISOLATED, "true"], capture_output=True, check=False).returncode == 0


pytestmark = [
    pytest.mark.system,
    pytest.mark.xdist_group("commands"),
    pytest.mark.skipif(not can_be_isolated(), reason="needs unshare and namespaces for users"),
]


def alone(dome: Observatory, *words: str) -> subprocess.CompletedProcess[str]:
    """Call a command in a process that has no network, not even a loopback."""
    command = [*ISOLATED, sys.executable, "-m", "nightflow", *words]
    config = ["--config", str(dome.root / "nightflow.toml")]
    return subprocess.run([*command, *config], capture_output=True, text=True, check=False)


@pytest.fixture
def fetched(empty: Observatory, simulated: Path, monkeypatch: pytest.MonkeyPatch) -> Observatory:
    """The field's stars in the cache, as a service of another day gave them."""
    stars = Table.read(simulated / "catalog.csv")

    def answer(cone: online.Cone) -> Table:
        near = separation(np.array(stars["ra"]), np.array(stars["dec"]), cone.ra, cone.dec) <= cone.radius
        found = stars[near]
        found["id"] = np.flatnonzero(near)
        return found["id", "ra", "dec", "pmra", "pmdec", "R", "V"]

    service = replace(
        online.SERVICES["gaia"], routes={"a": Route(query=answer)}, epoch=2000.0, limit_band="V"
    )
    monkeypatch.setattr(sky, "SERVICES", {"gaia": service})
    done = empty("catalog", "fetch", *CONE)
    assert done.exit_code == 0, done.output
    return empty


def test_a_night_works_from_the_cache(fetched: Observatory) -> None:
    here = alone(fetched, "catalog", "fetch", *CONE)
    assert here.returncode == 0, here.stderr
    assert "all were here" in here.stdout
    run = alone(fetched, "run", str(fetched.raw))
    assert run.returncode == 0, run.stderr
    frames = json.loads(fetched("frames", "--format", "json").stdout)
    lights = [row for row in frames if row["kind"] == "light"]
    assert [(row["state"], row["wcs_quality"], row["zp_catalog"]) for row in lights] == [
        ("done", "verified", "gaia")
    ] * LIGHTS
    finish = alone(fetched, "finish", NIGHT)
    assert finish.returncode == 0, finish.stderr


def test_what_is_not_here_is_said(fetched: Observatory) -> None:
    away = alone(fetched, "catalog", "fetch", "--ra", "180", "--dec", "-30", "--radius", "0.1")
    assert away.returncode == 1
    assert "Gaia archive (TAP): " in away.stderr
    assert "VizieR: " in away.stderr
    assert "nightflow catalog import" in away.stderr
