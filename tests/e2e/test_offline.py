"""A whole night where there is no network at all, on the reference stars that were fetched before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from nightflow.catalogs.cone import Cone
from nightflow.catalogs.online import fetch_into
from nightflow.catalogs.routes import Route, query_tap
from nightflow.catalogs.services import SERVICES
from nightflow.store.models import State
from tests.unit.catalogs.loopback import server, source_of, tap, theirs, votable

NAMESPACE = ["unshare", "-n" if os.geteuid() == 0 else "-rn"]


def why_not() -> str:
    """Return why there is no network namespace to be had; "" where there is."""
    try:
        done = subprocess.run([*NAMESPACE, "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "the program unshare is not here (Debian's package util-linux)"
    return done.stderr.strip()


pytestmark = [pytest.mark.e2e, pytest.mark.system, pytest.mark.timeout(400)]


def fetch_stars(night: Path, folder: Path) -> None:
    """Fetch the field's stars as `nightflow catalog fetch` does; the server answers as Gaia's archive."""
    made = Table.read(night / "catalog.csv", format="ascii.csv")
    stars = Table(
        {
            "id": np.arange(1, len(made) + 1, dtype=np.int64) * 10**9,
            "ra": made["ra"],
            "dec": made["dec"],
            "pmra": made["pmra"],
            "pmdec": made["pmdec"],
            "G": made["V"] - 0.15,
            "BP": made["V"] + 0.15,
            "RP": made["R"] - 0.15,
        }
    )
    source = source_of("gaia", "Gaia archive (TAP)")
    cone = Cone(ra=float(np.mean(made["ra"])), dec=float(np.mean(made["dec"])), radius=0.6)
    with server(tap(votable(theirs(source, stars)))) as (address, _):
        route = Route(query=partial(query_tap, url=f"{address}/tap", source=source), tile_radius=5.0)
        service = SERVICES["gaia"].__class__(
            key="gaia",
            title="Gaia DR3",
            routes={"loopback": route},
            epoch=2000.0,
            limit_mag=19.0,
            limit_band="G",
        )
        report = fetch_into(cone, "gaia", folder, service, 60.0)
    assert report.warnings == ()


def test_every_frame_is_done_and_nothing_asks_for_the_network(tmp_path: Path, small_night: Path) -> None:
    if hindrance := why_not():
        pytest.skip(f"no network namespace to be had here: {hindrance}")
    fetch_stars(small_night, tmp_path / "catalogs")
    command = [*NAMESPACE, sys.executable, "-m", "tests.e2e.night_alone", str(tmp_path), str(small_night)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=380)
    assert ended.returncode == 0, ended.stderr[-4000:]
    told = json.loads(ended.stdout)
    rows = told["rows"]
    assert len(rows) == told["runs"] == len(list((small_night / "raw").glob("*.fits")))
    assert {row["state"] for row in rows} == {State.DONE}
    lights = [row for row in rows if row["kind"] == "light"]
    assert {(row["wcs_quality"], row["zp_catalog"]) for row in lights} == {("verified", "gaia")}
    assert told["backfill"] == f"{len(rows)} done"
    assert told["ways_out"] == 0, "nothing waits for an answer that cannot come"
