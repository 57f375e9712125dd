"""The demo judges itself: whatever is wrong with its night is a fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightflow.config import load_settings
from nightflow.demo.report import DemoReport, conclude, describe
from nightflow.errors import NightflowError
from nightflow.store.database import Database
from nightflow.store.ledger import settle_exposure
from nightflow.store.models import State
from nightflow.store.writer import append
from tests.unit.store.builders import START, add_frame, columns, record, stars

N_LIGHTS = 24
DEPTH = 0.03


def report(**changes: Any) -> DemoReport:
    values: dict[str, Any] = {
        "states": {"done": 89, "failed": 0},
        "depth": 0.0251,
        "true_depth": 0.0242,
        "depth_error": 0.001,
        "scatter": 0.004,
        "seconds_per_frame": 1.4,
        "runs": 89,
        "listed": 0,
        "plot": Path("transit.png"),
        "table": Path("transit.csv"),
        "url": "http://127.0.0.1:4200",
    }
    return DemoReport(**(values | changes))


def test_a_good_night_has_no_fault() -> None:
    assert report().faults == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"depth": 0.0275}, "depth 2.75% +- 0.10%, the truth is 2.42%"),
        ({"depth": 0.0209}, "depth 2.09% +- 0.10%, the truth is 2.42%"),
        ({"depth": float("nan")}, "depth nan% +- 0.10%, the truth is 2.42%"),
        ({"depth_error": 0.006}, "the depth is known to 0.60% only"),
        ({"depth_error": float("nan")}, "the depth is known to nan% only"),
        ({"states": {"done": 87, "failed": 2}}, "2 exposures are failed"),
        ({"states": {"done": 88, "reducing": 1}}, "1 exposures are reducing"),
        ({"states": {"done": 88, "held": 1}}, "1 exposures are held"),
        ({"runs": 70}, "Prefect shows 70 of 89 exposures only"),
        ({"runs": 10, "listed": 70}, "Prefect shows 80 of 89 exposures only"),
    ],
)
def test_each_fault_is_named(changes: dict[str, Any], fault: str) -> None:
    assert report(**changes).faults == [fault]


def test_late_exposures_that_a_catch_up_run_lists_are_no_fault() -> None:
    late = report(runs=10, listed=79)
    assert late.faults == []
    assert "10 under ingest-exposure/live, 79 late exposures listed by catch-up runs" in "\n".join(
        describe(late)
    )


def test_the_summary_tells_what_it_came_to() -> None:
    text = "\n".join(describe(report(states={"done": 89, "failed": 0})))
    for part in (
        "89 done",
        "89 under ingest-exposure/live",
        "2.51% +- 0.10%",
        "truth 2.42%",
        "4.0 mmag",
        "transit.png",
    ):
        assert part in text
    assert "failed" not in text


@pytest.fixture
def night(tmp_path: Path) -> Path:
    """A store with the light curve of a star, and the truth beside it."""
    (tmp_path / "nightflow.toml").write_text("")
    (tmp_path / "simulated").mkdir()
    rng = np.random.default_rng(3)
    ra, dec = stars(30)
    brightness = rng.uniform(500, 3000, 30)
    truth = {"target": {"name": "X-1", "ra": ra[7], "dec": dec[7]}, "frames": []}
    with Database(load_settings(tmp_path / "nightflow.toml").store_url) as database:
        database.upgrade()
        for number in range(N_LIGHTS):
            in_transit = 8 <= number < 16
            target_flux = 1 - DEPTH * in_transit
            flux = brightness * rng.normal(1, 0.001, 30)
            flux[7] *= target_flux
            name = f"{number:04d}.fits"
            frame_id = add_frame(database, name, mjd_mid=61100 + number / 100)
            append(
                database,
                frame_id,
                record(),
                columns(ra, dec, mjd=61100 + number / 100, flux=flux),
                now=START,
            )
            settle_exposure(database, number + 1, State.DONE, "", now=START)
            truth["frames"].append({"name": name, "kind": "light", "target_flux": target_flux})
    (tmp_path / "simulated" / "truth.json").write_text(json.dumps(truth))
    return tmp_path


def test_the_depth_is_measured_and_held_against_the_truth(night: Path) -> None:
    found = conclude(
        load_settings(night / "nightflow.toml"), night, runs=N_LIGHTS, catch_up_runs=[], url="http://x:1/api"
    )
    assert found.true_depth == pytest.approx(DEPTH)
    assert found.depth == pytest.approx(DEPTH, abs=0.0015)
    assert 0 < found.scatter < 0.003
    assert found.states["done"] == N_LIGHTS
    assert found.faults == []
    assert found.url == "http://x:1"
    assert found.plot.read_bytes().startswith(b"\x89PNG")
    assert len(found.table.read_text().splitlines()) == N_LIGHTS + 1


def test_another_truth_is_a_fault(night: Path) -> None:
    file = night / "simulated" / "truth.json"
    file.write_text(file.read_text().replace(str(1 - DEPTH), str(1 - 2 * DEPTH)))
    found = conclude(
        load_settings(night / "nightflow.toml"), night, runs=N_LIGHTS, catch_up_runs=[], url="http://x:1/api"
    )
    (fault,) = found.faults
    assert "the truth is 6.00%" in fault


def test_a_star_that_was_not_measured_ends_it(night: Path) -> None:
    file = night / "simulated" / "truth.json"
    content = json.loads(file.read_text())
    content["target"]["dec"] = -60.0
    file.write_text(json.dumps(content))
    with pytest.raises(NightflowError, match="the transit's star was not measured"):
        conclude(load_settings(night / "nightflow.toml"), night, runs=0, catch_up_runs=[], url="")
