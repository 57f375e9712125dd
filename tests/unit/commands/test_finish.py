from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nightflow.store.night_photometry import night_solutions, night_zero_points
from tests.unit.commands.conftest import CALIBRATIONS, LIGHTS, NIGHT, Observatory

pytestmark = pytest.mark.xdist_group("commands")

Snapshot = Callable[[Observatory], dict[str, list[str]]]


def table(dome: Observatory) -> list[dict[str, str]]:
    with (dome.products / "night.csv").open() as lines:
        return list(csv.DictReader(lines))


def test_the_report_has_a_row_a_frame_and_a_figure(dome: Observatory) -> None:
    result = dome("finish", NIGHT)
    assert result.exit_code == 0
    assert f"{LIGHTS + CALIBRATIONS} frames pass, 0 fail" in result.stdout
    rows = table(dome)
    assert len(rows) == LIGHTS + CALIBRATIONS
    assert {row["verdict"] for row in rows} == {"pass"}
    assert [row["mjd_mid"] for row in rows] == sorted((row["mjd_mid"] for row in rows), key=float)
    picture = np.asarray(Image.open(dome.products / "night.png").convert("L"))
    assert picture.shape[0] > 800
    assert 0.001 < (picture < 128).mean() < 0.2


def test_twice_in_a_row_changes_nothing(dome: Observatory, snapshot: Snapshot) -> None:
    dome("finish", NIGHT)
    before, files = snapshot(dome), _stamps(dome)
    again = dome("finish", NIGHT)
    assert again.exit_code == 0
    assert f"{LIGHTS + CALIBRATIONS} unchanged" in again.stdout
    assert snapshot(dome) == before
    assert _stamps(dome) == files


def test_a_night_with_too_much_loose_for_fast_bodies_says_so(
    dome: Observatory, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nightflow.pipeline.finish as module

    assert "fastest_arcsec_per_hour" not in dome("finish", NIGHT).output
    real = module.associate
    monkeypatch.setattr(module, "associate", lambda *a, **k: replace(real(*a, **k), fastest=150.0))
    result = dome("finish", NIGHT)
    assert 'up to 150"/h, not up to [association] fastest_arcsec_per_hour = 300' in result.output


def test_the_photometry_of_the_night_is_in_the_store_once(dome: Observatory) -> None:
    found = []
    for _ in range(2):
        assert dome("finish", NIGHT).exit_code == 0
        with dome.database as database:
            solutions = night_solutions(database, NIGHT)
            found.append([(one, night_zero_points(database, one.id or 0)) for one in solutions])
    ((solution, points),) = found[0]
    assert found[1] == found[0]
    assert (solution.filter, solution.catalog, solution.n_frames) == ("R", "field", LIGHTS)
    assert len(points) == LIGHTS
    own = [float(row["zp"]) for row in table(dome) if row["kind"] == "light"]
    np.testing.assert_allclose(sorted(one.zp for one in points), sorted(own), atol=0.01)


def test_calibrations_of_the_dawn_reach_the_lights_of_the_night(empty: Observatory, simulated: Any) -> None:
    empty("catalog", "import", str(simulated / "catalog.csv"), "--name", "field")
    files = sorted(empty.raw.glob("*"))
    evening = [str(file) for file in files if not file.name.startswith(("0009", "0010", "0011"))]
    assert "held" not in empty("run", *evening).stdout
    assert "flat:" not in _lights(empty)[0]["masters"]
    dawn = empty.root / "incoming"
    for file in files:
        if "flat" in file.name:
            shutil.copy(file, dawn)
    empty("run", str(dawn))
    assert "flat:" not in _lights(empty)[0]["masters"]
    result = empty("finish", NIGHT)
    assert f"{LIGHTS} done" in result.stdout
    assert all("flat:" in row["masters"] and row["version"] == 2 for row in _lights(empty))


def test_the_order_of_arrival_makes_no_difference(
    empty: Observatory, simulated: Any, reduced: Observatory
) -> None:
    empty("catalog", "import", str(simulated / "catalog.csv"), "--name", "field")
    for file in sorted(empty.raw.glob("*"), reverse=True):
        empty("run", str(file))
    empty("finish", NIGHT)
    names = ("zp", "fwhm_px", "n_sources", "wcs_n_matched", "masters")
    ours, theirs = _lights(empty), _lights(reduced)
    assert [{name: row[name] for name in names} for row in ours] == [
        {name: row[name] for name in names} for row in theirs
    ]


def test_a_night_without_frames_exits_with_2(reduced: Observatory) -> None:
    result = reduced("finish", "2025-10-25")
    assert result.exit_code == 2
    assert "no frame of the night 2025-10-25" in result.stderr
    assert not (reduced.root / "products" / "2025-10-25").exists()


@pytest.mark.parametrize("night", ["tonight", "../../etc", "2025-13-01"])
def test_what_is_no_date_exits_with_1(reduced: Observatory, night: str) -> None:
    result = reduced("finish", night)
    assert result.exit_code == 1
    assert "write it as YYYY-MM-DD" in result.stderr


def test_a_frame_that_fails_makes_it_exit_with_1(dome: Observatory, monkeypatch: pytest.MonkeyPatch) -> None:
    from nightflow.pipeline import reducer

    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setitem(reducer._WORKERS, "flux", broken)
    dome("retry", "0013-light-R.fits")
    result = dome("finish", NIGHT)
    assert result.exit_code == 1
    bad = [row for row in table(dome) if row["verdict"] == "fail"]
    assert [row["path"].rsplit("/", 1)[-1] for row in bad] == ["0013-light-R.fits"]
    assert "state: failed" in bad[0]["why"]


def _lights(dome: Observatory) -> list[dict[str, Any]]:
    rows = json.loads(dome("frames", "--format", "json").stdout)
    return [row for row in rows if row["kind"] == "light"]


def _stamps(dome: Observatory) -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in dome.products.iterdir()}
