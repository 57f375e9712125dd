"""Shares of a backfill on a Dask cluster, one on each of its workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
from prefect import get_client, get_run_logger, runtime, tags, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import PrefectException

from flows.share import share
from nightflow.errors import ConfigurationError
from nightflow.service.prefect_leftovers import close_runs
from nightflow.service.prefect_transport import one_line
from tasks.context import batch_reduction
from tasks.share import check_ledger, ledger_tag

__all__ = ["shares_on"]

PATIENCE_SECONDS = 10.0
"""How long a scheduler may take to answer."""
END_SECONDS = 60.0
"""How long shares may take to end when nothing of the backfill is left to reduce."""
LOOKED_AFTER_SECONDS = 0.2


@task(
    name="share-on-cluster",
    task_run_name="share {number} of {of} on the cluster",
    cache_policy=NO_CACHE,
    persist_result=False,
)
async def share_on_cluster(number: int, of: int, ledger: str) -> State[Any]:
    """Do a share in this process, a worker of the cluster; its frames are runs below this one.

    Raises
    ------
    ConfigurationError
        There are no settings here, or they name another ledger than the backfill's.
    """
    with batch_reduction():
        check_ledger(ledger)
    return await share(return_state=True)


@asynccontextmanager
async def shares_on(address: str) -> AsyncIterator[Callable[[], bool]]:
    """Start a share on each worker of a cluster; give what tells whether one of them is at work.

    Where the cluster cannot be reached, or has no workers, none is, and that is told. So is, when it happens,
    that a share ends without having done its part.
    """
    cluster = await _connected(address)
    if cluster is None:
        yield lambda: False
        return
    mark = f"shared by {runtime.flow_run.id}"
    try:
        with tags(mark):
            # In a thread: it waits for the scheduler.
            shares = await asyncio.to_thread(_begin, cluster, address, ledger_tag())
        telling = asyncio.create_task(_tell_of_faults(shares))
        try:
            yield lambda: any(_is_open(one) for one in shares)
            if await _ended(telling):
                await _close_left_runs(mark)
        finally:
            telling.cancel()
    finally:
        await asyncio.to_thread(cluster.close)


async def _connected(address: str) -> Any:
    """Return a client of the cluster; None where it cannot be reached.

    Raises
    ------
    ConfigurationError
        The address is none, or asks for TLS, which Dask's own configuration does not have.
    """
    from prefect_dask import PrefectDaskClient

    try:
        return await asyncio.to_thread(
            PrefectDaskClient, address, timeout=PATIENCE_SECONDS, set_as_default=False
        )
    except (TypeError, ValueError) as error:  # the first where TLS is not configured
        raise ConfigurationError(
            f"[prefect] dask_address = {address!r}: {error}; tcp://HOST:8786 would do"
        ) from error
    except OSError as error:
        _tell_it_is_away(address, error)
        return None


def _tell_it_is_away(address: str, error: OSError) -> None:
    get_run_logger().warning(
        "[prefect] dask_address = %r: no Dask scheduler answers, the backfill goes on on this machine; "
        "start one (dask scheduler) or leave the key empty: %s",
        address,
        error,
    )


def _begin(cluster: Any, address: str, ledger: str) -> list[Any]:
    """Submit a share for each worker; none where the scheduler has gone away since it was connected."""
    try:
        workers = list(cluster.nthreads())
        if not workers:
            get_run_logger().warning(
                "[prefect] dask_address = %r: the cluster has no workers, the backfill goes on on this "
                "machine; start some: dask worker %s",
                address,
                address,
            )
        return [
            cluster.submit(
                share_on_cluster,
                parameters={"number": number, "of": len(workers), "ledger": ledger},
                return_type="state",
                workers=[worker],
                allow_other_workers=True,  # with a worker that dies its share goes to another
            )
            for number, worker in enumerate(workers, start=1)
        ]
    except OSError as error:
        _tell_it_is_away(address, error)
        return []


def _is_open(one: Any) -> bool:
    return bool(one.status == "pending")


async def _tell_of_faults(shares: Sequence[Any]) -> None:
    """Wait until all shares have ended, and tell of each that did not as it should, when it does.

    What it left is done by others, so that nothing else would show that a cluster does nothing.
    """
    left = dict(enumerate(shares, start=1))
    while left:
        for number in [number for number, one in left.items() if not _is_open(one)]:
            if fault := await asyncio.to_thread(_fault, left.pop(number)):
                get_run_logger().warning("share %d of %d on the cluster %s", number, len(shares), fault)
        await asyncio.sleep(LOOKED_AFTER_SECONDS)


def _fault(one: Any) -> str:
    """Return in words why a share that has ended did not do its part; empty where it did."""
    if one.status not in ("error", "finished"):
        return f"is {one.status}: the scheduler went away or was started anew, see its log"
    try:
        if one.status == "error":
            return f"ended early: {one.exception(timeout=PATIENCE_SECONDS)}"
        state: State[Any] = one.result(timeout=PATIENCE_SECONDS)
    except Exception as error:  # noqa: BLE001  # of another version, or gone with its worker: it is told
        return f"ended, nobody knows how: {type(error).__name__}: {error}"
    return "" if state.is_completed() else f"ended as {state.name}: {state.message}"


async def _ended(telling: asyncio.Task[None]) -> bool:
    """Wait until shares have written their last products; False where some have not, or never began."""
    try:
        async with asyncio.timeout(END_SECONDS):
            await telling
    except TimeoutError:
        get_run_logger().warning(
            "shares on the cluster have not ended: they go on with exposures of another backfill, "
            "are stuck, or never began; the cluster's dashboard tells"
        )
        return False
    return True


async def _close_left_runs(mark: str) -> None:
    """Mark runs as crashed that workers left when they died; others have taken up their exposures."""
    died = "its Dask worker died; what it had in hand was taken up again"
    try:
        async with get_client() as client:
            await close_runs(client, mark, [StateType.PENDING, StateType.RUNNING], died)
    except (httpx.HTTPError, PrefectException) as error:
        get_run_logger().warning("runs of workers that died are not closed: %s", one_line(error))
