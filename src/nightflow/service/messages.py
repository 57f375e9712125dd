"""What the service and its workers say to each other: a few words, never pixels."""

from __future__ import annotations

from dataclasses import dataclass

from nightflow.config import Settings
from nightflow.pipeline.outcome import Outcome

__all__ = [
    "OUT_OF_MEMORY",
    "Begin",
    "BegunRun",
    "Ended",
    "Learned",
    "Leave",
    "Ready",
    "RunFault",
    "Settled",
    "Step",
    "Task",
    "Unfit",
]


OUT_OF_MEMORY = 72
"""Exit status of a worker that was refused memory; no signal's, nor one that Python gives by itself."""


@dataclass(frozen=True, kw_only=True)
class Begin:
    """To a new worker: what to work with, and in whose name exposures are leased."""

    settings: Settings
    lease_name: str


@dataclass(frozen=True)
class Ready:
    """From a worker: it can be given exposures."""


@dataclass(frozen=True)
class Unfit:
    """From a worker: why it cannot work."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class BegunRun:
    """A run of the workflow server that waits to be executed.

    Attributes
    ----------
    id : str
    content : str
        The run, in the words of `nightflow.service.prefect_runs`.
    """

    id: str
    content: str


@dataclass(frozen=True, kw_only=True)
class RunFault:
    """Why a run did not go to its end: the server is ``away``, or something else is wrong with it."""

    away: bool
    message: str
    forgotten: bool = False
    """Whether the server does not know the run's deployment any more."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """To a worker: reduce this exposure, as this run where there is one.

    Attributes
    ----------
    number : int
        Of the task. An exposure may be queued again, and given out once more, as it is concluded: its id does
        not tell the two apart.
    exposure_id : int
    path : str
    run : BegunRun, optional
    """

    number: int
    exposure_id: int
    path: str
    run: BegunRun | None = None


@dataclass(frozen=True)
class Leave:
    """To a worker: finish what is in work, and end."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """From a worker: a step on a row of the ledger (a frame, or the exposure itself) begins or has ended."""

    task: int
    name: str
    row: int
    begins: bool


@dataclass(frozen=True, kw_only=True)
class Settled:
    """From a worker: the ledger says how an exposure ended; its products may still be written."""

    task: int
    outcome: Outcome


@dataclass(frozen=True, kw_only=True)
class Learned:
    """From a worker, and to the others: what an exposure taught that the next ones can use.

    Attributes
    ----------
    memory : str
        Which memory of `nightflow.pipeline.work.Context`: "pointings" or "saturation".
    key : tuple
        What takes the place of what.
    content : bytes
        Arguments of the memory's ``remember``, pickled: only those who use them need to read them.
    """

    memory: str
    key: tuple[object, ...]
    content: bytes


@dataclass(frozen=True, kw_only=True)
class Ended:
    """From a worker: nothing more is done on an exposure.

    Attributes
    ----------
    task : int
        Its number.
    fault : RunFault, optional
        Of its run.
    direct : Outcome, optional
        Where it was reduced without a run.
    error : str
        What kept it from being settled; "" where nothing did.
    store : bool
        Whether that was the store, so that it may be settled later.
    """

    task: int
    fault: RunFault | None = None
    direct: Outcome | None = None
    error: str = ""
    store: bool = False
