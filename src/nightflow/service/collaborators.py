"""What the live service works with: runs that a server shows, workers, settings that are read anew."""

from __future__ import annotations

import threading
from typing import Any, Protocol

from nightflow.config import Settings
from nightflow.service.messages import BegunRun, RunFault
from nightflow.service.worker import Reduced
from nightflow.store.models import Exposure

__all__ = ["LiveWorker", "Reload", "Runs", "Workers"]


class Runs(Protocol):
    """Shows exposures as runs of a workflow server."""

    async def connect(self) -> bool:
        """Look for the server and prepare it; return whether it is there."""

    async def keep_connected(self) -> None:
        """Look for the server from time to time while it is away; never ends."""

    async def begin(self, exposure: Exposure) -> BegunRun | None:
        """Begin the run of an exposure, which a worker executes; None where the server is away."""

    async def end(self, run: BegunRun, fault: RunFault | None = None) -> None:
        """Take note that a run is not executed any more, and what kept it from its end."""

    async def remember(self, exposure_id: int) -> None:
        """Take note of an exposure that is reduced without a run.

        Raises
        ------
        NightflowError
            The ledger cannot take the note.
        """

    def use(self, reducer: Any) -> None:
        """Let the runs that begin from now on go by this reducer's plans."""

    def announce(self, event: str, text: str) -> None:
        """Show something that a person should know."""


class Workers(Protocol):
    """Makes a worker that works with these settings; it is yet to be started."""

    def __call__(self, settings: Settings) -> LiveWorker:
        """Return it."""


class LiveWorker(Protocol):
    """See `nightflow.service.worker.Worker`."""

    @property
    def alive(self) -> bool:
        """Whether it can be given an exposure."""

    @property
    def outgrown(self) -> bool:
        """Whether it had better be replaced."""

    async def start(self) -> None:
        """Make it ready."""

    async def reduce(self, exposure_id: int, path: str, run: BegunRun | None) -> Reduced:
        """Reduce an exposure; return when it is settled."""

    async def leave(self, seconds: float, why: str) -> None:
        """Let it finish, for so long, and end; what that costs is told with the reason."""


class Reload(Protocol):
    """Gives the settings as they are now; see `nightflow.service.live_service.LiveService`."""

    @property
    def asked(self) -> threading.Event:
        """Set when somebody wants them."""

    def __call__(self, settings: Settings) -> tuple[Settings, Any]:
        """Return settings and reducer that take the place of ``settings``; called from a thread.

        Raises
        ------
        NightflowError
            They are wrong: those that there are stay.
        """
