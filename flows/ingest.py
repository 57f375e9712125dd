"""One exposure, from the file to its rows in the store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.logging import get_logger

from flows.run_tags import change_run, tag_process, tags_here
from flows.states import run_state
from nightflow.pipeline.outcome import LOST
from tasks.append import append
from tasks.calibrate import calibrate
from tasks.context import current_reducer
from tasks.flux import flux
from tasks.identify import identify
from tasks.lease import give_back, lease, lease_kept, not_taken
from tasks.measure import measure
from tasks.products import products
from tasks.publish import publish
from tasks.settle import conclude, settle
from tasks.solve import solve

if TYPE_CHECKING:
    from nightflow.pipeline.outcome import IdentifiedExposure, Outcome

__all__ = ["ingest_exposure", "reduce_one"]

log = get_logger("nightflow.flows")

FRAMES_AT_ONCE = os.cpu_count() or 1
"""Chips of a mosaic that are reduced in parallel."""
FRAMES_BEHIND = 2
"""Frames that wait for their products while the next ones are reduced."""


@flow(
    name="ingest-exposure",
    description="Reduce one exposure: calibrate, measure, solve, flux, append.",
    persist_result=False,
    on_running=[tag_process],
)
async def ingest_exposure(exposure_id: int, path: str = "") -> State[Any]:
    """Reduce one exposure of the ledger.

    Parameters
    ----------
    exposure_id : int
        Its row in the ledger.
    path : str
        Its file, for the reader of the run; the ledger's path is what counts.
    """
    outcome = await reduce_one(exposure_id)
    return run_state(outcome.state, outcome.reason, outcome.seconds)


async def reduce_one(exposure_id: int, *, name_the_run: bool = True) -> Outcome:
    """Hold an exposure and take it through all its steps; nothing is done where another process has it."""
    try:
        worker = await lease(exposure_id)
        if worker is None:
            return await asyncio.to_thread(not_taken, exposure_id)
        async with lease_kept(exposure_id):
            try:
                return await reduce_leased(exposure_id, worker, name_the_run=name_the_run)
            finally:
                current_reducer().forget(exposure_id)
    except BaseException:
        # Cancelled, the store broke, or the server: whoever comes next shall not wait for the lease to end.
        give_back(exposure_id)
        raise


async def reduce_leased(exposure_id: int, worker: str, *, name_the_run: bool) -> Outcome:
    """Take an exposure through all its steps; whatever happens, the ledger says how it ended.

    Products are written behind: the exposure is settled, and its lease free, meanwhile.
    """
    try:
        exposure = await identify(exposure_id, worker=worker)
    except Exception as error:  # noqa: BLE001  # its class decides what follows, in the ledger
        return await conclude(exposure_id, error, worker=worker)
    behind = Behind(len(exposure.frame_ids))
    if name_the_run:
        behind.begin(name_run(exposure.title, exposure.tags))
    try:
        # A calibration is checked and settled by now: there is no more to do until a light needs its master.
        if exposure.kind == "light":
            await reduce_frames(exposure, behind)
        return await conclude(exposure_id, worker=worker)
    finally:
        await behind.done()


class Behind:
    """What no frame waits for: the run's name, and what is written and shown of frames that are settled.

    Of those a few at a time: each holds its pixels.

    Parameters
    ----------
    n_frames : int
        Of the exposure. Where they are few, nothing is written before the exposure is settled.
    """

    def __init__(self, n_frames: int) -> None:
        self._may_begin = asyncio.Event()
        if n_frames > FRAMES_BEHIND:
            self._may_begin.set()
        self._room = asyncio.Semaphore(FRAMES_BEHIND)
        self._going_on: list[asyncio.Task[None]] = []

    async def show(self, frame_id: int, *, with_products: bool) -> None:
        """Write the products of a frame and show it; wait only where too many others are waiting."""
        await self._room.acquire()
        self.begin(self._show(frame_id, with_products))

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin something that has its end before the run has."""
        self._going_on.append(asyncio.create_task(work))

    async def _show(self, frame_id: int, with_products: bool) -> None:
        await self._may_begin.wait()
        try:
            written = await products(frame_id) if with_products else {}
            await publish(frame_id, written.get("thumbnail", ""))
        except Exception:  # the rows are in the store: nothing that goes wrong here changes that
            log.exception("frame %d: not shown", frame_id)
        finally:
            self._room.release()

    async def done(self) -> None:
        """Write and show what is left, and wait for it."""
        self._may_begin.set()
        # What comes after it forgets the exposure, and products that are to be written.
        await each_to_its_end(self._going_on)


async def reduce_frames(exposure: IdentifiedExposure, behind: Behind) -> None:
    """Reduce the frames of an exposure, in parallel where cores allow."""
    core = asyncio.Semaphore(FRAMES_AT_ONCE)

    async def on_a_core(frame_id: int) -> None:
        async with core:
            went_well, state = await reduce_frame(frame_id)
            if state != LOST:  # else whoever has it now shows it
                await behind.show(frame_id, with_products=went_well)

    # One that goes on alone would meet who tries the exposure again.
    await each_to_its_end(map(on_a_core, exposure.frame_ids))


async def each_to_its_end(work: Iterable[Awaitable[None]]) -> None:
    """Wait for all, also where one fails; raise then the first fault in their order."""
    ended = await asyncio.gather(*work, return_exceptions=True)
    if faults := [fault for fault in ended if fault is not None]:
        raise faults[0]


async def reduce_frame(frame_id: int) -> tuple[bool, str]:
    """Take one frame through the steps and settle it in the ledger; return whether it went well, and how."""
    try:
        await calibrate(frame_id)
        await measure(frame_id)
        await solve(frame_id)
        await flux(frame_id)
        await append(frame_id)
    except Exception as error:  # noqa: BLE001  # its class decides what follows, in the ledger
        return False, await settle(frame_id, error)
    return True, await settle(frame_id)


async def name_run(title: str, tags: Sequence[str]) -> None:
    """Name the run by frame, object and filter, and give it its tags, now that they are known."""
    run_id = runtime.flow_run.id
    if not run_id or not title:
        return
    all_tags = sorted({*tags_here(runtime.flow_run.tags), *tags})
    await change_run(UUID(run_id), f"keeps its name and is not called {title!r}", name=title, tags=all_tags)
