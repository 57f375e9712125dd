"""The demo as it runs, with a night of fewer frames: server, watcher, transit, verdict."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from astropy.table import Table

from nightflow.demo.night import run_demo
from nightflow.simulate import CameraPlan, FieldPlan, NightPlan

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(280)]

SHORT = NightPlan(
    n_bias=3,
    n_dark=3,
    n_flat=3,
    n_lights=16,
    cadence=900.0,
    camera=CameraPlan(shape=(768, 768)),
    field=FieldPlan(faint_limit=16.5),
)


def test_a_short_night_ends_without_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in [key for key in os.environ if key.startswith(("NIGHTFLOW_", "PREFECT_"))]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("DO_NOT_TRACK", "1")
    monkeypatch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    said: list[str] = []
    report = run_demo(tmp_path / "demo", plan=SHORT, cadence=0.1, say=said.append)
    assert report.faults == [], (tmp_path / "demo" / "watch.log").read_text(errors="replace")[-5000:]
    assert {state: n for state, n in report.states.items() if n} == {"done": 25}
    assert report.runs + report.listed == 25
    assert report.depth == pytest.approx(report.true_depth, abs=3 * report.depth_error)
    assert report.depth_error < 0.005
    assert 0.01 < report.true_depth < 0.04
    assert report.scatter < 0.01
    assert report.plot.read_bytes().startswith(b"\x89PNG")
    assert len(Table.read(report.table, format="ascii.csv")) == 16
    assert any("transit depth" in line for line in said)
    assert any(line.strip().startswith("live at http://127.0.0.1:") for line in said)
