"""The names in which runs and shares lease: of one process among those of all machines, now and later."""

from __future__ import annotations

from nightflow.process_identity import ProcessIdentity, identity_of, still_is

__all__ = ["RUNS", "lives_here", "run_worker", "shown_worker"]

RUNS = "run:"
"""What all of these names begin with."""


def run_worker(pid: int | None = None) -> str:
    """Return the name in which a process of this machine leases; without a number, this process.

    After machine and number, which are for people and may be another's too (containers with one host name,
    a number that is used again), it says in which boot and namespace that number counts, and when the
    process began.
    """
    one = identity_of(pid)
    return f"{RUNS}{one.host}:{one.pid}:{one.machine}.{one.boot}.{one.room}-{one.started}"


def shown_worker(worker: str) -> str:
    """Return a name as people read it: without what only tells it from others of that machine and number."""
    return ":".join(worker.split(":")[:3])


def lives_here(worker: str) -> bool | None:
    """Return whether the process of a name, which was one of this machine, still is.

    None where nobody can tell from here: it is of another machine, or of a container.
    """
    if not worker.startswith(RUNS):
        return None
    host, _, rest = worker.removeprefix(RUNS).partition(":")
    number, _, mark = rest.partition(":")
    place, _, started = mark.partition("-")
    parts = place.split(".")
    if len(parts) != 3:
        return None
    machine, boot, room = parts
    return still_is(
        ProcessIdentity(host=host, machine=machine, boot=boot, room=room, pid=number, started=started)
    )
