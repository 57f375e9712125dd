"""The live service with everything real: server, watcher, store, frames; and with deaths in the night."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from nightflow.errors import NightflowError
from nightflow.store.consistency import disagreements
from nightflow.store.leases import lease_exposure
from nightflow.store.ledger import requeue
from nightflow.store.models import State
from nightflow.store.overview import counts, get_exposure
from tests.e2e.conftest import Server, clean_environment, wait_until
from tests.e2e.observatory import Observatory

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("prefect-server"), pytest.mark.timeout(240)]

DEPLOYMENT = {"name": {"any_": ["live"]}}


def test_a_night_lands_and_is_seen(
    open_observatory: Callable[[str], Observatory], prefect_server: Server
) -> None:
    observatory = open_observatory("hold")
    observatory.watcher.start()
    calibrations, lights = observatory.frames("bias", "dark", "flat"), observatory.frames("light")[:4]
    observatory.deliver(*calibrations)
    (observatory.incoming / "broken.fits").write_bytes(b"\x89PNG this is no frame")
    truncated = observatory.incoming / "truncated.fits"
    truncated.write_bytes(lights[3].read_bytes()[:400_000])
    slow = observatory.incoming / "night" / lights[0].name
    slow.parent.mkdir()
    with slow.open("wb") as file:
        content = lights[0].read_bytes()
        file.write(content[: len(content) // 2])
        file.flush()
        observatory.deliver(*lights[1:3])
        wait_until(lambda: observatory.knows(lights[2].name), 60, "the next frames to be received")
        time.sleep(1)
        assert not observatory.knows(slow.name), "taken half-written"
        file.write(content[len(content) // 2 :])
    expected = len(calibrations) + 3 + 2
    wait_until(lambda: observatory.settled(expected), 90, f"{expected} exposures to settle")
    assert observatory.watcher.stop() < 10

    rows = observatory.rows()
    assert {rows[path.name]["state"] for path in (*calibrations, *lights[:3])} == {State.DONE}
    for name in ("broken.fits", "truncated.fits"):
        assert rows[name]["state"] == State.REJECTED
        assert rows[name]["reason"]
    assert [one for one in disagreements(observatory.database) if one.number] == []
    check_runs(prefect_server, lights[0].name, expected)
    check_card(prefect_server, observatory, lights[0].name)
    assert "hook" not in observatory.watcher.log, "a frame has one line in the log"


def test_runs_by_hand_take_the_lease(
    open_observatory: Callable[[str], Observatory], prefect_server: Server
) -> None:
    """As a Prefect worker runs them: in a process that nobody prepared."""
    observatory = open_observatory("hold")
    database = observatory.database
    database.upgrade()
    light = observatory.frames("light")[0]
    calibrations = observatory.frames("bias", "dark", "flat")
    observatory.deliver(*calibrations, light)
    printed = run_by_hand(
        prefect_server,
        observatory,
        f"flows.backfill import backfill as flow; ask = dict(path={str(observatory.incoming)!r})",
    )
    assert f"COMPLETED Completed {len(calibrations) + 1} done" in printed
    assert observatory.rows()[light.name]["state"] == State.DONE
    [(exposure_id,)] = observatory.query(f"SELECT id FROM exposure WHERE path LIKE '%{light.name}'")
    again = f"flows.ingest import ingest_exposure as flow; ask = dict(exposure_id={exposure_id})"
    said = run_by_hand(prefect_server, observatory, again)
    assert "COMPLETED Completed " in said
    assert "flat: master" in said, "three flats make a provisional master, and the run says so"

    requeue(database, [exposure_id], now=datetime.now(UTC))
    held = lease_exposure(database, exposure_id, "watch:dome:1", now=datetime.now(UTC), seconds=600)
    assert held is not None
    assert "COMPLETED Busy watch:dome:1 has it" in run_by_hand(prefect_server, observatory, again)
    kept = get_exposure(database, exposure_id)
    assert kept is not None
    assert (kept.state, kept.leased_by) == (State.REDUCING, "watch:dome:1")


LASTING = """
import asyncio
from prefect import flow
from flows.run_tags import tag_process

@flow(name="lasting", on_running=[tag_process])
async def lasting():
    await asyncio.sleep(600)

asyncio.run(lasting())
"""


def test_a_run_whose_process_was_killed_is_closed_and_others_go_on(
    open_observatory: Callable[[str], Observatory], prefect_server: Server
) -> None:
    """As of a backfill or the maintenance that a power cut ended."""
    observatory = open_observatory("warn")
    environment = environment_of(prefect_server, observatory)
    processes = [subprocess.Popen([sys.executable, "-c", LASTING], env=environment) for _ in range(2)]
    try:
        wait_until(lambda: len(lasting_runs(prefect_server, "RUNNING")) == 2, 60, "both runs to go on")
        processes[0].kill()
        processes[0].wait()
        observatory.watcher.start()
        wait_until(lambda: lasting_runs(prefect_server, "CRASHED"), 60, "the dead one's run to be closed")
        assert len(lasting_runs(prefect_server, "RUNNING")) == 1
        assert observatory.watcher.stop() < 10
    finally:
        for process in processes:
            process.kill()
            process.wait()


def lasting_runs(server: Server, state: str) -> list[dict[str, Any]]:
    """Return the runs in a state that have the mark of their process."""
    runs = server.find("flow_runs", flows={"name": {"any_": ["lasting"]}})
    marked = [run for run in runs if any(tag.startswith("process:") for tag in run["tags"])]
    return [run for run in marked if run["state_type"] == state]


def environment_of(server: Server, observatory: Observatory) -> dict[str, str]:
    return clean_environment() | {
        "PREFECT_HOME": str(observatory.watcher.root / "prefect"),
        "PREFECT_API_URL": server.url,
        "NIGHTFLOW_CONFIG": str(observatory.watcher.root / "nightflow.toml"),
    }


def run_by_hand(server: Server, observatory: Observatory, flow: str) -> str:
    """Run a flow in a process of its own; return how it ended."""
    code = (
        f"import asyncio; from {flow}\n"
        "state = asyncio.run(flow(**ask, return_state=True))\n"
        "print(state.type.name, state.name, state.message)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env=environment_of(server, observatory),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    return ended.stdout


def check_runs(server: Server, light: str, expected: int) -> None:
    """Every exposure is a finished run of the deployment, under a name that a person understands."""
    runs = {run["name"]: run for run in server.find("flow_runs", deployments=DEPLOYMENT)}
    assert len(runs) == expected
    assert {run["state_type"] for run in runs.values()} == {"COMPLETED"}
    assert f"{light} HAT-P-32 R" in runs
    tags = {tag.partition(":")[0]: tag for tag in runs[f"{light} HAT-P-32 R"]["tags"] if ":" in tag}
    assert set(tags) == {"camera", "kind", "filter", "night"}
    assert (tags["kind"], tags["filter"]) == ("kind:light", "filter:R")
    assert runs["broken.fits"]["state_name"] == "Rejected"
    assert "broken.fits" in runs["broken.fits"]["state"]["message"]
    tasks = server.find("task_runs", flow_runs={"name": {"any_": [f"{light} HAT-P-32 R"]}})
    assert {task["name"].split()[0] for task in tasks} >= {
        "identify", "calibrate", "measure", "solve", "flux", "append", "products", "conclude"
    }  # fmt: skip


def check_card(server: Server, observatory: Observatory, light: str) -> None:
    """The frame's artifact holds its picture and its measures."""
    frame_id = observatory.query(
        f"SELECT frame.id FROM frame JOIN exposure ON exposure.id = exposure_id WHERE path LIKE '%{light}'"
    )[0][0]
    [card] = server.find("artifacts", artifacts={"key": {"any_": [f"frame-{frame_id}"]}})
    assert "data:image/jpeg;base64," in card["data"]
    zero_point = observatory.rows()[light]["zp"]
    assert f"| Zero point | {zero_point:.3f} mag |" in card["data"]


def test_a_worker_that_is_killed_costs_its_run_and_no_frame(
    open_observatory: Callable[[str], Observatory], prefect_server: Server
) -> None:
    observatory = open_observatory("warn")
    watcher, lights = observatory.watcher, observatory.frames("light")[:3]
    watcher.start()
    observatory.deliver(*lights)
    wait_until(lambda: started_reducing(observatory), 60, "a frame to be in work")
    assert watcher.process is not None
    [worker] = [one for nursery in children(watcher.process.pid) for one in children(nursery)]
    wait_until(
        lambda: stopped_at_work(worker, observatory, prefect_server), 60, "the worker to be at a frame's run"
    )
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: observatory.settled(3), 90, "all to settle")
    assert {row["state"] for row in observatory.rows().values()} == {State.DONE}
    assert observatory.query("SELECT sum(attempts), sum(service_deaths) FROM exposure") == [(1, 0)]
    wait_until(lambda: not unfinished_runs(prefect_server), 30, "its run to be closed")
    crashed = [run["state"]["message"] for run in live_runs(prefect_server) if run["state_name"] == "Crashed"]
    assert [message for message in crashed if f"worker {worker} was killed by SIGKILL" in message]
    assert watcher.stop() < 10


def stopped_at_work(worker: int, observatory: Observatory, server: Server) -> bool:
    """Stop a worker; let it go on unless it has begun a frame: killed between two it costs none."""
    os.kill(worker, signal.SIGSTOP)
    running = {run["name"].split()[0] for run in live_runs(server) if run["state_type"] == "RUNNING"}
    reducing = observatory.query("SELECT path FROM exposure WHERE state = 'reducing'")
    if running & {Path(path).name for (path,) in reducing}:
        return True
    os.kill(worker, signal.SIGCONT)
    return False


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.fault("Prefect server killed before a run", "Prefect server killed during a run")
def test_deaths_of_service_and_server_lose_and_double_nothing(
    open_observatory: Callable[[str], Observatory], prefect_server: Server
) -> None:
    observatory = open_observatory("warn")
    watcher, lights = observatory.watcher, observatory.frames("light")
    watcher.start()
    observatory.deliver(*lights[:3])
    wait_until(lambda: started_reducing(observatory), 60, "a frame to be in work")
    time.sleep(0.5)
    watcher.kill()

    watcher.start()
    wait_until(lambda: observatory.settled(3), 60, "the first three to settle")

    observatory.deliver(*lights[3:5])
    wait_until(lambda: unfinished_runs(prefect_server), 30, "a frame to be in work")
    prefect_server.kill()
    observatory.deliver(*lights[5:])
    wait_until(lambda: observatory.settled(len(lights)), 60, "the night to go on without a server")

    prefect_server.start()
    wait_until(lambda: catch_up_runs(prefect_server), 30, "the catch-up run")
    wait_until(lambda: not unfinished_runs(prefect_server), 30, "lost runs to be closed")
    assert watcher.stop() < 10

    rows = observatory.rows()
    assert {row["state"] for row in rows.values()} == {State.DONE}
    assert len(rows) == len(lights)
    doubled = "SELECT frame_id FROM reduction GROUP BY frame_id HAVING count(*) > 1"
    assert observatory.query(doubled) == []
    assert observatory.query("SELECT count(*) FROM reduction WHERE current")[0][0] == len(lights)
    [caught_up] = catch_up_runs(prefect_server)
    listed = prefect_server.find("artifacts", flow_runs={"id": {"any_": [caught_up["id"]]}})[0]["data"]
    assert lights[-1].name in str(listed)
    assert any(run["state_name"] == "Crashed" for run in live_runs(prefect_server))


def started_reducing(observatory: Observatory) -> bool:
    try:
        return counts(observatory.database)[State.REDUCING] > 0
    except NightflowError:
        return False  # the service has not made the tables yet


def live_runs(server: Server) -> list[dict[str, Any]]:
    return server.find("flow_runs", deployments=DEPLOYMENT)


def unfinished_runs(server: Server) -> list[dict[str, Any]]:
    return [run for run in live_runs(server) if run["state_type"] in ("PENDING", "RUNNING", "CANCELLING")]


def catch_up_runs(server: Server) -> list[dict[str, Any]]:
    runs = server.find("flow_runs", flows={"name": {"any_": ["catch-up"]}})
    return [run for run in runs if run["state_type"] == "COMPLETED"]
