"""Where the content of an exposure lies: at its own path, and at those of its duplicates.

Paths are texts of the ledger, see `nightflow.file_names`.
"""

from __future__ import annotations

from sqlalchemy.orm import aliased
from sqlmodel import col, select

from nightflow.store.database import Database, serialise
from nightflow.store.ledger import PLACE, others_at, same_content
from nightflow.store.models import Exposure, State

__all__ = ["copies_of_displaced", "has_others", "move", "original_of", "paths_of"]


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


def copies_of_displaced(database: Database, path: str, sha256: str) -> list[tuple[str, str]]:
    """Return content and path of each duplicate of an exposure whose file a new one has overwritten.

    Parameters
    ----------
    path, sha256 : str
        Of the new file. What was retired for another one of its path stays where it was.
    """
    displaced = (Exposure.path == path, Exposure.sha256 != sha256, Exposure.waits_for != PLACE)
    copy = aliased(Exposure)
    copies = (
        select(Exposure.sha256, copy.path)
        .join(copy, (col(copy.sha256) == col(Exposure.sha256)) & (col(copy.state) == State.DUPLICATE))
        .where(*displaced, Exposure.state != State.DUPLICATE)
    )
    with database.session() as session:
        # Most files come under a path of their own: copies, which no index finds, are then not looked for.
        if session.exec(select(Exposure.id).where(*displaced).limit(1)).first() is None:
            return []
        return list(session.exec(copies.order_by(col(copy.id))).all())


def move(database: Database, sha256: str, path: str, to: str) -> bool:
    """Write down that a file lies elsewhere now; False where the ledger knows it elsewhere already.

    A duplicate that is known there changes places with it: what lay where is not forgotten.
    """
    with database.write() as session:
        serialise(session, f"content {sha256}")
        rows = session.exec(select(Exposure).where(Exposure.sha256 == sha256)).all()
        original = next((row for row in rows if row.state != State.DUPLICATE), None)
        if original is None or original.path != path:
            return False
        original.path = to
        for copy in (row for row in rows if row.state == State.DUPLICATE):
            copy.path = path if copy.path == to else copy.path
            copy.reason = same_content(original)
        return True
