"""Exposures as Prefect runs: visible under their deployment, executed by the service's own warm workers.

Only this file, `prefect_leftovers` and `prefect_deployments` know Prefect. The flows are loaded by their
entry points, as a Prefect worker would load them. The service (`PrefectRuns`) creates a run ``Pending`` under
the deployment, and one of its workers (`RunExecutor`) executes it a tenth of a second later; a process
that has to start would need several seconds.

The ledger is the truth. When the server is away, `PrefectRuns.begin` says so and the service reduces
without it; when it is back, runs it lost sight of are closed and one catch-up run lists what went on.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import ssl
import time
from contextlib import suppress
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID, uuid4

import httpx
from prefect import tags
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import AsyncClientContext
from prefect.events import Event
from prefect.exceptions import Abort, ObjectNotFound, PrefectException
from prefect.flow_engine import run_flow_async
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.settings import PREFECT_API_URL
from prefect.states import Crashed, Pending

from nightflow import __version__
from nightflow.errors import NightflowError
from nightflow.service.messages import BegunRun, RunFault, Task
from nightflow.service.prefect_leftovers import close_dead_runs, close_lost_runs
from nightflow.service.prefect_transport import PromptTransport, is_away, one_line
from nightflow.service.process import call_in_thread
from nightflow.service.unshown import any_in_work, note_unshown, unshown
from nightflow.shown_url import shown_url
from nightflow.store.models import Exposure

if TYPE_CHECKING:
    from nightflow.pipeline.reducer import Reducer

__all__ = ["INGEST", "LIVE", "PrefectRuns", "RunExecutor", "load_flows"]

log = logging.getLogger(__name__)

INGEST = "flows.ingest.ingest_exposure"
CATCH_UP = "flows.catch_up.catch_up"
LIVE = "live"
"""Name of the deployment under which the service's runs stand."""
REQUEST_SECONDS = 10.0
"""How long the server may take to create a run before the frame is reduced without it."""
STRAGGLERS_SECONDS = 60.0
"""How long a catch-up run waits for what is in work without a run, so that one run lists all."""
AGAIN_SECONDS = 300.0
"""After which a catch-up run that failed is tried again."""
DEAD_SECONDS = 300.0
"""How often runs of processes that were killed are looked for."""


class CatchUpFailed(NightflowError):  # noqa: N818  # what happened
    """A catch-up run did not complete."""


class PrefectRuns:
    """The service's side of its runs: begins and closes them, and knows whether the server is there.

    Parameters
    ----------
    reducer : Reducer
        Knows the plan of an exposure.
    identity : str
        Tag of this service's runs, the same after a restart: by it a dead predecessor's runs are found.
    probe_seconds : float
        How often an absent server is looked for.
    """

    def __init__(self, reducer: Reducer, *, identity: str, probe_seconds: float = 30.0) -> None:
        self.use(reducer)
        _quieten()
        self._identity = identity
        self._probe_seconds = probe_seconds
        self._flow: Flow[..., Any] = load_flow_from_entrypoint(INGEST, use_placeholder_flow=False)
        self._deployment_id: UUID | None = None
        self._active: set[UUID] = set()
        self._said = False
        """That the server is away."""
        self._losses = 0
        """How often it was found away."""
        self._missed = True
        """Whether the ledger may have exposures that no run shows: those of a predecessor too."""
        self._catch_up_at = self._close_dead_at = 0.0

    @property
    def here(self) -> bool:
        """Whether the server was there when last asked."""
        return self._deployment_id is not None

    def use(self, reducer: Reducer) -> None:
        """Let the runs that begin from now on go by this reducer's plans."""
        self._reducer = reducer
        importlib.import_module("tasks.context").use_reducer(reducer)

    async def connect(self) -> bool:
        """Look for the server; where it is there, prepare it and close what was left open.

        Returns
        -------
        bool
            Whether it is there.
        """
        if not PREFECT_API_URL.value():
            log.warning(
                "no Prefect server is named: set prefect.api_url or PREFECT_API_URL; reducing without it"
            )
            return False
        losses = self._losses
        try:
            async with get_client() as client:
                deployment_id = await self._ensure_deployment(client)
                await close_lost_runs(client, self._identity, but=self._active)
                await close_dead_runs(client)
            if losses != self._losses:
                return False  # a run has ended meanwhile, and the server was not told: it is to be closed
            self._deployment_id, self._said = deployment_id, False
        except Exception as error:  # whatever is wrong there, the night goes on
            if is_away(error):
                self._lost(one_line(error))
            else:
                log.exception("the Prefect server answers, but cannot be used")
            return False
        self._catch_up_at = 0.0
        self._close_dead_at = time.monotonic() + DEAD_SECONDS
        return True

    async def keep_connected(self) -> None:
        """Look for the server while it is away, and keep its runs true else; ends with the service."""
        while True:
            if self.here:
                await self.catch_up()
                await self._close_dead()
            await asyncio.sleep(self._probe_seconds)
            if not self.here and await self.connect():
                log.info("the Prefect server is back: %s", shown_url(PREFECT_API_URL.value()))

    async def _close_dead(self) -> None:
        """Close, from time to time, what processes of this machine that were killed have left at work."""
        if time.monotonic() < self._close_dead_at:
            return
        self._close_dead_at = time.monotonic() + DEAD_SECONDS
        try:
            async with get_client() as client:
                await close_dead_runs(client)
        except (Exception, Abort) as error:  # whatever is wrong there, the night goes on
            if is_away(error):
                self._lost(one_line(error))
            else:
                log.exception("runs of processes that were killed are not closed; it is tried again")

    async def begin(self, exposure: Exposure) -> BegunRun | None:
        """Create the run of an exposure, for a worker to execute.

        Parameters
        ----------
        exposure : Exposure
            Leased by this service.

        Returns
        -------
        BegunRun or None
            None where the server is away or made no run.
        """
        if not self.here:
            return None
        assert exposure.id is not None
        try:
            # Before anything is asked of the server: a store that is locked is no server that is away.
            fingerprint = await call_in_thread(self._reducer.fingerprints.plan_of, exposure.id)
        except NightflowError as error:
            log.warning("%s: reduced without a run, its plan is not known: %s", exposure.path, error)
            return None
        key = f"{exposure.sha256}:{fingerprint}:{exposure.attempts}"
        try:
            # A client of its own for each run: one that has been connected before hopes for long.
            # The first one asks the server for its version, too: all of that has one limit.
            async with asyncio.timeout(REQUEST_SECONDS), _RunClient() as context:
                run = await self._create_run(context.client, exposure, key)
        except (Exception, Abort) as error:  # whatever is wrong there, the exposure is reduced without it
            await self._take_note(_fault(error), None)
            if not is_away(error):
                log.exception("%s: no run was made for it", exposure.path)
            return None
        self._active.add(run.id)
        return BegunRun(id=str(run.id), content=run.model_dump_json())

    async def end(self, run: BegunRun, fault: RunFault | None = None) -> None:
        """Take note that a run is not executed any more, and why not to its end.

        What became of its exposure stands in the ledger.
        """
        self._active.discard(UUID(run.id))
        if fault is not None:
            await self._take_note(fault, run)

    async def remember(self, exposure_id: int) -> None:
        """Take note, in the ledger, of an exposure that is reduced without a run, for the catch-up run."""
        if PREFECT_API_URL.value():
            await call_in_thread(note_unshown, self._reducer.database, exposure_id)
            self._missed = True

    def announce(self, event: str, text: str) -> None:
        """Show something as an event of the server, for its automations; a server that is away misses it."""
        if not self.here:
            return
        shown = Event(
            event=f"nightflow.{event}",
            resource={"prefect.resource.id": f"nightflow.{self._identity}"},
            payload={"text": text},
        )
        try:
            # Prefect's own client: it knows what the server wants to be asked with.
            with get_client(sync_client=True, httpx_settings={"timeout": REQUEST_SECONDS}) as client:
                client.request("POST", "/events", json=[shown.model_dump(mode="json")])
        except (httpx.HTTPError, PrefectException, RuntimeError) as error:  # its text holds the address
            log.warning("%s: not shown by the Prefect server: %s", event, type(error).__name__)

    async def _take_note(self, fault: RunFault, run: BegunRun | None) -> None:
        if fault.away:
            self._lost(fault.message)
            return
        if fault.forgotten:
            self._deployment_id = None  # made anew when next looked for
        if run is None:
            return
        try:
            async with get_client() as client:
                async with asyncio.timeout(REQUEST_SECONDS):
                    crashed: State[None] = Crashed(message=fault.message)
                    await client.set_flow_run_state(UUID(run.id), crashed, force=True)
        except (
            httpx.HTTPError,
            PrefectException,
            RuntimeError,
            TimeoutError,
        ) as problem:  # the run is closed when the service connects again
            log.warning("run %s is left as it is: %s", run.id, one_line(problem))
            if is_away(problem):
                self._lost(one_line(problem))

    def _lost(self, reason: str) -> None:
        if not self._said:
            log.warning("the Prefect server is away, the night goes on without it: %s", reason)
        self._deployment_id, self._said = None, True
        self._losses += 1

    async def _ensure_deployment(self, client: PrefectClient) -> UUID:
        """Return the deployment of the live runs, made or brought up to date where needed."""
        name = f"{self._flow.name}/{LIVE}"
        try:
            known = await client.read_deployment_by_name(name)
            if known.version == __version__:
                return known.id
            work_pool_name, tags = known.work_pool_name, list(known.tags)
        except ObjectNotFound:
            work_pool_name, tags = None, ["nightflow"]
        return await client.create_deployment(
            flow_id=await client.create_flow(self._flow),
            name=LIVE,
            version=__version__,
            description=self._flow.description,
            tags=tags,
            entrypoint=INGEST,
            work_pool_name=work_pool_name,
            parameter_openapi_schema=self._flow.parameters.model_dump_for_openapi(),
            enforce_parameter_schema=True,
        )

    async def _create_run(self, client: PrefectClient, exposure: Exposure, key: str) -> FlowRun:
        run = await self._new_run(client, exposure, key)
        if run.state is not None and run.state.is_pending() and run.id not in self._active:
            return run
        # The key gives back a run that has ended: the same plan once more, for a frame that was held or
        # that is asked for by hand. It is a new run.
        return await self._new_run(client, exposure, f"{key}:{uuid4().hex[:8]}")

    async def _new_run(self, client: PrefectClient, exposure: Exposure, key: str) -> FlowRun:
        assert self._deployment_id is not None
        return await client.create_flow_run_from_deployment(
            self._deployment_id,
            parameters={"exposure_id": exposure.id, "path": exposure.path},
            state=Pending(),
            name=Path(exposure.path).name,
            tags=[self._identity],
            idempotency_key=key,
        )

    async def catch_up(self) -> None:
        """Show what was reduced without a run as one run; where that fails it is tried again."""
        if not self._missed or time.monotonic() < self._catch_up_at:
            return
        self._missed = False
        try:
            self._missed |= await self._list_missed()
        except (Exception, Abort) as error:  # whatever is wrong there, the night goes on
            self._missed = True
            if is_away(error):
                self._lost(one_line(error))
                return
            self._catch_up_at = time.monotonic() + AGAIN_SECONDS
            if isinstance(error, NightflowError):
                log.warning("the catch-up run is put off: %s", error)
            else:
                log.exception("no catch-up run was made; it is tried again")

    async def _list_missed(self) -> bool:
        """Let a run list what has ended and no run shows; return whether more of it is to come.

        Raises
        ------
        CatchUpFailed
            The run did not complete: what it has not listed stays as it is.
        """
        database = self._reducer.database
        with suppress(TimeoutError):
            async with asyncio.timeout(STRAGGLERS_SECONDS):
                while await call_in_thread(any_in_work, database):
                    await asyncio.sleep(1.0)
        missed = await call_in_thread(unshown, database)
        if missed.first is not None and missed.last is not None:
            named = _catch_up_flow().with_options(
                flow_run_name=_span(missed.ended, missed.first, missed.last)
            )
            between = {"since": missed.first, "until": missed.last}
            with tags(self._identity):  # by which it is found, and closed, where it does not come to its end
                ended = await run_flow_async(named, parameters=between, return_type="state")
            state = cast("State[Any]", ended)
            if not state.is_completed():
                raise CatchUpFailed(f"it ended as {state.name}: {state.message}")
        return missed.waiting > 0


@cache
def _catch_up_flow() -> Flow[..., Any]:
    """Load the flow when the first run of it is made, and once: each time its module would be another."""
    return load_flow_from_entrypoint(CATCH_UP, use_placeholder_flow=False)


class RunExecutor:
    """A worker's side: executes runs that the service has begun.

    Parameters
    ----------
    reducer : Reducer
        Does the work; registered as the reducer of this process.
    """

    def __init__(self, reducer: Reducer) -> None:
        importlib.import_module("tasks.context").use_reducer(reducer)
        _quieten()
        self._flow: Flow[..., Any] = load_flow_from_entrypoint(INGEST, use_placeholder_flow=False)

    async def __call__(self, task: Task) -> RunFault | None:
        """Execute the run of a task; return why it did not go to its end, None where it did.

        Where the flow did not begin the exposure is as it was, to be reduced without the server.
        """
        assert task.run is not None
        try:
            run = FlowRun.model_validate_json(task.run.content)
            parameters = {"exposure_id": task.exposure_id, "path": task.path}
            async with _RunClient():
                await run_flow_async(
                    self._flow, flow_run=_unsuspendable(run), parameters=parameters, return_type="state"
                )
        except (Exception, Abort) as error:  # the service decides what follows
            if not is_away(error):
                log.exception("%s: its run did not go to its end", task.path)
            return _fault(error)
        return None


def load_flows() -> None:
    """Import the flows, so that a worker forked from here need not."""
    for entry_point in (INGEST, CATCH_UP):
        importlib.import_module(entry_point.rpartition(".")[0])


def _fault(error: BaseException) -> RunFault:
    return RunFault(away=is_away(error), message=one_line(error), forgotten=isinstance(error, ObjectNotFound))


def _quieten() -> None:
    """Keep out of the service's log what the UI shows better; it has its own line a frame."""
    logging.getLogger("httpx").setLevel(logging.WARNING)
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).propagate = False


class _RunClient(AsyncClientContext):
    """The client of one run: it asks a busy server again at once, and everything in the run shares it."""

    def __init__(self) -> None:
        url = PREFECT_API_URL.value()
        settings: dict[str, Any] = {"transport": PromptTransport.to(url)}
        if url.startswith("http://"):
            # Else the client reads all certificates, for nothing: 20 ms and more. This one trusts nobody.
            settings["verify"] = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        super().__init__(httpx_settings=settings)
        # Prefect lends the context's client only to those who ask for the same settings; nobody knows these.
        self._httpx_settings = None


def _unsuspendable(run: FlowRun) -> FlowRun:
    """Return the run as one that Prefect does not watch for being suspended from the UI.

    For a run of a deployment the engine starts a thread that asks the server whether the run is suspended,
    and blocks the event loop until the server has answered: 0.3 s a run, and without end where the server has
    died in between. The run on the server keeps its deployment.
    """
    return run.model_copy(update={"deployment_id": None})


def _span(number: int, first: datetime, last: datetime) -> str:
    return f"{number} exposures without a run, {first:%H:%M}-{last:%H:%M} UT"
