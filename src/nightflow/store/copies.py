"""Where the content of an exposure lies: at its own path, and at those of its duplicates.

Paths are texts of the ledger, see `nightflow.file_names`.
"""

from __future__ import annotations

from sqlmodel import col, select

from nightflow.store.database import Database, serialise
from nightflow.store.ledger import PLACE, others_at, same_content
from nightflow.store.models import Exposure, State

__all__ = ["copies_of_displaced", "has_others", "move", "original_of", "paths_of"]

_LAST = 8
"""Exposures overwritten at a path that are looked after: each is as the next frame comes, but for bursts."""


def original_of(database: Database, sha256: str) -> Exposure | None:
    """Return the exposure of a content, None where the ledger knows none."""
    with database.session() as session:
        original = select(Exposure).where(Exposure.sha256 == sha256, Exposure.state != State.DUPLICATE)
        return session.exec(original).first()


def paths_of(database: Database, sha256: str) -> list[str]:
    """Return where a content was received, its exposure's own path first."""
    with database.session() as session:
        rows = session.exec(
            select(Exposure).where(Exposure.sha256 == sha256).order_by(col(Exposure.id))
        ).all()
    return [row.path for row in sorted(rows, key=lambda row: row.state == State.DUPLICATE)]


def has_others(database: Database, path: str, sha256: str) -> bool:
    """Return whether exposures of other content were received at a path."""
    with database.session() as session:
        return others_at(session, path, sha256)


def copies_of_displaced(database: Database, path: str, sha256: str) -> list[Exposure]:
    """Return duplicates of exposures whose file a new one has overwritten, one for each path.

    Only the last few are looked for that lay there: what was overwritten before has been, each time. Of those
    at one path it is the last, for a path holds one content.

    Parameters
    ----------
    path, sha256 : str
        Of the new file. What was retired for another one of its path stays where it was.
    """
    displaced = select(Exposure.sha256).where(
        Exposure.path == path,
        Exposure.sha256 != sha256,
        Exposure.waits_for != PLACE,
        Exposure.state != State.DUPLICATE,
    )
    with database.session() as session:
        contents = session.exec(displaced.order_by(col(Exposure.id).desc()).limit(_LAST)).all()
        if not contents:  # most files come under a path of their own
            return []
        copies = select(Exposure).where(
            col(Exposure.sha256).in_(contents), Exposure.state == State.DUPLICATE, Exposure.path != path
        )
        found = session.exec(copies.order_by(col(Exposure.id))).all()
    return list({copy.path: copy for copy in found}.values())


def move(database: Database, sha256: str, path: str, to: str, *, keep: bool = False) -> bool:
    """Write down that a file lies elsewhere now; False where the ledger knows it elsewhere already.

    A duplicate that is known there changes places with it: what lay where is not forgotten.

    Parameters
    ----------
    keep : bool
        Leave a duplicate at the old path also where none is known at the new one: another file lies there.
    """
    with database.write() as session:
        serialise(session, f"content {sha256}")
        rows = session.exec(select(Exposure).where(Exposure.sha256 == sha256)).all()
        original = next((row for row in rows if row.state != State.DUPLICATE), None)
        if original is None or original.path != path:
            return False
        copies = [row for row in rows if row.state == State.DUPLICATE]
        left = [copy for copy in copies if copy.path == to]
        times = (left[0].mtime_ns, left[0].ctime_ns) if left else (None, None)
        if keep and not left and all(copy.path != path for copy in copies):
            left = [_duplicate(original)]
            session.add_all(left)
        for copy in left:
            # As the content lay there: else what came there since would pass for known.
            copy.path, copy.received_at = path, original.received_at
            copy.mtime_ns, copy.ctime_ns = original.mtime_ns, original.ctime_ns
        original.path = to
        original.mtime_ns, original.ctime_ns = times
        for copy in (*copies, *left):
            copy.reason = same_content(original)
        return True


def _duplicate(original: Exposure) -> Exposure:
    return Exposure(
        path=original.path,
        sha256=original.sha256,
        size=original.size,
        state=State.DUPLICATE,
        priority=original.priority,
        received_at=original.received_at,
        queued_at=original.received_at,
        done_at=original.received_at,
    )
