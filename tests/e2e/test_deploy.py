"""What `nightflow deploy` makes on a real server, once and again."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from nightflow.store.database import Database
from nightflow.store.ledger import receive
from tests.e2e.conftest import Server, deploy, pool_worker, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("prefect-server"), pytest.mark.timeout(280)]

SETTINGS = """
[site]
latitude = 28.76
longitude = -17.88
"""


def test_pool_queues_deployments_schedules_and_automations(tmp_path: Path, prefect_server: Server) -> None:
    (tmp_path / "nightflow.toml").write_text(SETTINGS)
    for _ in range(2):
        done = deploy(tmp_path, prefect_server.url)
        assert done.returncode == 0, done.stderr
    assert "30 min after the latest dawn of each month, 12 of them" in done.stdout
    deployments = {one["name"]: one for one in prefect_server.find("deployments")}
    assert set(deployments) >= {
        "live",
        "masters",
        "backfill",
        "prefetch",
        "maintenance",
        "end-of-night",
        "tell",
    }
    assert deployments["backfill"]["work_queue_name"] == "day"
    assert deployments["tell"]["work_queue_name"] == "night"
    assert len(deployments["end-of-night"]["schedules"]) == 12
    crons = {
        name: [one["schedule"]["cron"] for one in deployments[name]["schedules"]] for name in deployments
    }
    assert (crons["prefetch"], crons["maintenance"]) == (["12 13 * * *"], ["42 13 * * *"])
    # The form of the backfill: a date is asked for as a date, with what it means.
    since = deployments["backfill"]["parameter_openapi_schema"]["properties"]["since"]
    assert since["description"] == "First night, by the date of its evening"
    queues = httpx.post(f"{prefect_server.url}/work_pools/nightflow/queues/filter", json={}).json()
    assert {one["name"]: one["priority"] for one in queues} == pytest.approx(
        {"night": 1, "day": 10} | {one["name"]: one["priority"] for one in queues if one["name"] == "default"}
    )
    automations = [one["name"] for one in prefect_server.find("automations")]
    ours = sorted(name for name in automations if name.startswith("nightflow: "))
    assert ours == ["nightflow: failed frames", "nightflow: no frame at night", "nightflow: zero point fell"]
    names = {one["id"]: one["name"] for one in deployments.values()}

    def scheduled() -> set[str]:
        runs = prefect_server.find("flow_runs", flow_runs={"state": {"type": {"any_": ["SCHEDULED"]}}})
        return {names[one["deployment_id"]] for one in runs if one["deployment_id"] in names}

    # By Prefect's own scheduler: libraries that do not go with it leave the deployments as they are.
    wait_until(lambda: scheduled() >= {"prefetch", "maintenance", "end-of-night"}, 60, "scheduled runs")


def test_of_a_run_that_a_dead_watcher_left_nothing_is_told_while_its_exposure_waits(
    tmp_path: Path, prefect_server: Server
) -> None:
    """By a worker for whom the folder from which it was deployed is not there."""
    (tmp_path / "nightflow.toml").write_text(SETTINGS)
    (tmp_path / "trial").mkdir()
    done = deploy(tmp_path, prefect_server.url, cwd=tmp_path / "trial")
    assert done.returncode == 0, done.stderr
    (tmp_path / "trial").rmdir()
    database = Database(f"sqlite:///{tmp_path / 'nightflow.sqlite'}")
    database.upgrade()
    exposure_id = receive(database, "/raw/0019-light-R.fits", "ab", 1, now=datetime.now(UTC)).exposure_id
    [live, tell] = [
        next(one for one in prefect_server.find("deployments") if one["name"] == name)
        for name in ("live", "tell")
    ]
    assert not any(one["pull_steps"] for one in (live, tell))
    parameters = {"exposure_id": exposure_id, "path": "/raw/0019-light-R.fits"}
    made = httpx.post(
        f"{prefect_server.url}/deployments/{live['id']}/create_flow_run",
        json={"parameters": parameters, "state": {"type": "RUNNING"}},
    ).json()
    crashed = {"state": {"type": "CRASHED", "message": "its service stopped"}, "force": True}
    httpx.post(f"{prefect_server.url}/flow_runs/{made['id']}/set_state", json=crashed).raise_for_status()

    def ended() -> str:
        runs = prefect_server.find("flow_runs", deployments={"name": {"any_": ["tell"]}})
        return str(runs[0]["state"]["message"]) if runs and runs[0]["end_time"] else ""

    with pool_worker(tmp_path, prefect_server.url):
        wait_until(lambda: bool(ended()), 150, "the run of tell to end")
    assert ended() == "not told: the ledger has /raw/0019-light-R.fits as received"


def test_without_a_server_it_says_how_to_get_one(tmp_path: Path) -> None:
    (tmp_path / "nightflow.toml").write_text(SETTINGS)
    done = deploy(tmp_path, "http://127.0.0.1:9/api")
    assert done.returncode == 1
    assert "start it, or set PREFECT_API_URL" in done.stderr
    assert "Traceback" not in done.stderr
