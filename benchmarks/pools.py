"""`python -m benchmarks.pools`: a night reduced by one and by two workers of a pool, with a core each."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from benchmarks.dask_cluster import dask_cluster
from benchmarks.harness import Skipped
from benchmarks.report import hardware
from benchmarks.stores import Postgres
from nightflow.catalogs.importer import import_catalog
from nightflow.demo.processes import prefect_server
from nightflow.simulate import CameraPlan, FieldPlan, NightPlan, write_night
from nightflow.store.database import Database
from nightflow.store.overview import frame_rows

__all__ = ["Night", "doubled", "plan_of", "reduce_night"]

RESULTS = Path(__file__).parent / "results" / "pools.json"
BIN = Path(sys.executable).parent
MOST = 0.7
"""Of the wall time of one worker alone."""
_PATIENCE = 3600.0


@dataclass(frozen=True)
class Night:
    """How a night was reduced.

    Attributes
    ----------
    seconds : float
        Of the backfill's run, the start of its helpers' processes included.
    message : str
        How it ended.
    shares : list of list of str
        The files that each worker reduced, calibrations included.
    rows : list of dict
        As `nightflow.store.overview.frame_rows` gives them.
    runs : list of dict
        All flow runs, as the Prefect server has them.
    """

    seconds: float
    message: str
    shares: list[list[str]]
    rows: list[dict[str, Any]]
    runs: list[dict[str, Any]]

    @property
    def left_running(self) -> list[str]:
        """Names of runs that have not ended although the backfill has."""
        return [one["name"] for one in self.runs if one["state"]["type"] in ("PENDING", "RUNNING")]


def main() -> int:
    """Simulate, reduce alone and together, print and write; return 1 where the bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pools", description=__doc__)
    parser.add_argument("--lights", type=int, default=60)
    parser.add_argument("--pixels", type=int, default=2048, help="of a side")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="nf-pools-") as folder, Postgres.started() as postgres:
        console.print(f"simulating {options.lights} lights of {options.pixels} x {options.pixels} ...")
        write_night(plan_of(options.lights, options.pixels), Path(folder) / "night")
        nights = []
        for n_workers in (1, 2):
            root = Path(folder) / f"workers-{n_workers}"
            nights.append(reduce_night(root, Path(folder) / "night", postgres.new_database(), n_workers))
            console.print(f"{n_workers}: {nights[-1].seconds:.1f} s, {nights[-1].message}")
    alone, together = nights
    ratio = together.seconds / alone.seconds
    result = {
        "machine": hardware(),
        "lights": options.lights,
        "pixels": options.pixels,
        "alone_s": alone.seconds,
        "together_s": together.seconds,
        "ratio": ratio,
        "shares": [len(share) for share in together.shares],
        "doubled": doubled(together),
        "message": together.message,
    }
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    console.print(f"together {ratio:.2f} of one alone (at most {MOST}), shares {result['shares']}")
    return int(ratio > MOST or bool(result["doubled"]) or alone.message != together.message)


def plan_of(n_lights: int, pixels: int) -> NightPlan:
    """Return a night of lights over four hours, of a field with stars to 17.5 mag."""
    return NightPlan.small(
        n_lights=n_lights,
        cadence=14400.0 / n_lights,
        camera=CameraPlan(shape=(pixels, pixels)),
        field=FieldPlan(faint_limit=17.5),
    )


def doubled(night: Night) -> list[str]:
    """Return the files that were reduced more than once, as the workers say and as the store does."""
    files = [file for share in night.shares for file in share]
    again = {Path(row["path"]).name for row in night.rows if (row["version"] or 1) > 1}
    return sorted({file for file in files if files.count(file) > 1} | again)


def reduce_night(root: Path, night: Path, store_url: str, n_workers: int, n_on_cluster: int = 0) -> Night:
    """Reduce a simulated night as a backfill of ``n_workers`` processes, each on a core of its own.

    Parameters
    ----------
    root : Path
        Made; settings, catalogue, masters and products go there.
    night : Path
        Folder of the simulated night.
    store_url : str
        An empty Postgres database.
    n_workers : int
        No more than there are cores.
    n_on_cluster : int
        Workers of a Dask cluster that is there for it.
    """
    root.mkdir()
    import_catalog(night / "catalog.csv", "field", root / "catalogs")
    with Database(store_url) as database, ExitStack() as running:
        database.upgrade()
        api = running.enter_context(prefect_server(root / "prefect"))
        environment = _environment(root, api)
        address = running.enter_context(dask_cluster(root, environment, n_on_cluster)) if n_on_cluster else ""
        (root / "nightflow.toml").write_text(
            f'[store]\nurl = "{store_url}"\n[prefect]\ndask_address = "{address}"\n'
        )
        subprocess.run([BIN / "nightflow", "deploy"], env=environment, check=True, stdout=subprocess.DEVNULL)
        workers = "work_pools/nightflow/workers/filter"
        for number, core in enumerate(sorted(os.sched_getaffinity(0))[:n_workers], start=1):
            running.enter_context(_worker(root, environment, core))
            _wait(lambda number=number: len(_ask(api, workers, {})) == number)
        run = _backfill(api, {"path": str(night / "raw"), "helpers": n_workers - 1, "dry_run": False})
        return Night(
            seconds=run["total_run_time"],
            message=run["state"]["message"],
            shares=_shares(api),
            rows=frame_rows(database),
            runs=_ask(api, "flow_runs/filter", {}),
        )


def _environment(root: Path, api: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "NIGHTFLOW_"))}
    return kept | {
        "NIGHTFLOW_CONFIG": str(root / "nightflow.toml"),
        "PREFECT_API_URL": api,
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "OMP_NUM_THREADS": "1",
    }


@contextmanager
def _worker(root: Path, environment: dict[str, str], core: int) -> Iterator[None]:
    """Run a worker of the pool, and what it starts, on one core; all of it is killed in the end."""
    if shutil.which("taskset") is None:
        raise Skipped("taskset is not installed (Debian's package util-linux)")
    command = ["taskset", "-c", str(core), BIN / "prefect", "worker", "start", "--pool", "nightflow"]
    with (root / f"worker-{core}.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--type", "process", "--limit", "1", "--name", f"core-{core}"],
            env=environment | {"PREFECT_HOME": str(root / f"home-{core}")},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _backfill(api: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Start a backfill as its form does; return its run when it has ended."""
    [deployment] = _ask(api, "deployments/filter", {"deployments": {"name": {"any_": ["backfill"]}}})
    asked = {"parameters": parameters, "idempotency_key": "the only one"}
    run = _ask(api, f"deployments/{deployment['id']}/create_flow_run", asked)
    ended = {"id": {"any_": [run["id"]]}, "state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}}
    _wait(lambda: bool(_ask(api, "flow_runs/filter", {"flow_runs": ended})))
    return _ask(api, "flow_runs/filter", {"flow_runs": ended})[0]


def _shares(api: str) -> list[list[str]]:
    """Return the files that each worker reduced: the lists of its batches, put together."""
    lists = _ask(api, "artifacts/filter", {"artifacts": {"key": {"any_": ["backfill-batch"]}}})
    shares: dict[str, list[str]] = {}
    for one in lists:
        [batch] = _ask(api, "flow_runs/filter", {"flow_runs": {"id": {"any_": [one["flow_run_id"]]}}})
        [parent] = _ask(
            api, "task_runs/filter", {"task_runs": {"id": {"any_": [batch["parent_task_run_id"]]}}}
        )
        shares.setdefault(parent["flow_run_id"], []).extend(row["file"] for row in json.loads(one["data"]))
    return sorted(shares.values(), key=len)


def _ask(api: str, what: str, content: dict[str, Any]) -> Any:
    """Ask the server; again where it is busy, as it says when its SQLite file is locked."""
    while True:
        answer = httpx.post(f"{api}/{what}", json=content, timeout=120)
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            answer.raise_for_status()
            return answer.json()
        time.sleep(1)


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not done after {_PATIENCE:.0f} s")
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
