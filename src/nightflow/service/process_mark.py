"""A name for this process that tells, later and on this machine, whether it still is."""

from __future__ import annotations

from nightflow.process_identity import ProcessIdentity, identity_of, still_is

__all__ = ["is_gone", "is_mark", "is_there", "own_mark"]

_PREFIX = "process"


def own_mark() -> str:
    """Return the mark of this process; empty where the system cannot tell (not Linux)."""
    own = identity_of()
    return ":".join((_PREFIX, *own)) if own.boot and own.room and own.started else ""


def is_mark(text: str) -> bool:
    """Return whether a text is the mark of a process."""
    return text.startswith(f"{_PREFIX}:")


def is_gone(mark: str) -> bool:
    """Return whether a process was one of this machine, and is no more; False where nobody can tell."""
    return _still_is(mark) is False


def is_there(mark: str) -> bool:
    """Return whether a process is one of this machine and lives; False where nobody can tell."""
    return _still_is(mark) is True


def _still_is(mark: str) -> bool | None:
    parts = mark.split(":")[1:]
    return still_is(ProcessIdentity(*parts)) if len(parts) == len(ProcessIdentity._fields) else None
