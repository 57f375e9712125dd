"""A Dask cluster on this machine, started as docs/operations.md says."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from nightflow.demo.processes import program, running, wait_for

__all__ = ["dask_cluster"]

_PATIENCE = 60.0
_PRELOADED = ("--preload", "flows.share", "--preload", "nightflow.pipeline.reducer")


@contextmanager
def dask_cluster(root: Path, environment: Mapping[str, str], n_workers: int) -> Iterator[str]:
    """Run a scheduler and workers of one thread each, on the loopback only; give the scheduler's address."""
    told = root / "scheduler.json"
    local = ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0"]
    scheduler = [program("dask"), "scheduler", *local, "--port", "0", "--scheduler-file", str(told)]
    environment = {**environment, "PREFECT_HOME": str(root / "dask-home")}
    with ExitStack() as started:
        process = started.enter_context(running(scheduler, root / "dask-scheduler.log", environment))
        wait_for(told.is_file, process, root / "dask-scheduler.log", _PATIENCE)
        address = _address(told)
        command = [program("dask"), "worker", address, *local, "--nthreads", "1", *_PRELOADED]
        own = ["--nworkers", str(n_workers), "--local-directory", str(root / "dask")]
        started.enter_context(running([*command, *own], root / "dask-worker.log", environment))
        _wait_for_workers(address, n_workers)
        yield address


def _address(told: Path) -> str:
    """Return where the scheduler listens, once it has written that to its end."""
    while not (content := told.read_text()).rstrip().endswith("}"):
        time.sleep(0.1)
    return str(json.loads(content)["address"])


def _wait_for_workers(address: str, n_workers: int) -> None:
    from distributed import Client

    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(n_workers, timeout=_PATIENCE)
