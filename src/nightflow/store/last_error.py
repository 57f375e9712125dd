"""What went wrong last, and was not mended since."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing
from datetime import datetime

from sqlalchemy import and_, case, func
from sqlmodel import Session, col, select

from nightflow.store.database import Database
from nightflow.store.ledger import PLACE
from nightflow.store.models import Exposure, State

__all__ = ["last_error"]

_AT_ONCE = 100
"""Exposures that are looked at together: most often the first of them is the answer."""


def last_error(database: Database) -> Exposure | None:
    """Return the exposure that last ended failed, rejected or held; None where there is none.

    No errors are a file that was rejected for what was in it, truncated perhaps, and has come well since, and
    content that was retired for what took its place. What failed, is held, or was overwritten before it was
    reduced stays one whatever is done later at its path: that may be another frame.
    """
    may_be_mended = and_(col(Exposure.state) == State.REJECTED, col(Exposure.waits_for) == "")
    newest = (
        select(Exposure.id, Exposure.path, Exposure.done_at, may_be_mended)
        .where(col(Exposure.state).in_((State.FAILED, State.REJECTED, State.HELD)))
        .where(Exposure.waits_for != PLACE)
        .order_by(col(Exposure.done_at).desc(), col(Exposure.id).desc())
        .execution_options(yield_per=_AT_ONCE)
    )
    well: dict[str, datetime | None] = {}
    with database.session() as session, closing(session.exec(newest)) as found:
        for errors in found.partitions():
            # Each path is asked for once: one that a camera uses for all its frames has all of them.
            well |= _last_done(session, {path for _, path, _, may in errors if may} - well.keys())
            for exposure_id, path, ended, may in errors:
                if not (may and _is_since(well[path], ended)):
                    return session.get(Exposure, exposure_id)
    return None


def _last_done(session: Session, paths: Collection[str]) -> dict[str, datetime | None]:
    """Return when an exposure of each path was done last; None where none was."""
    # Not narrowed to those that are done, or a database may go through all that are, of whatever path.
    done_at = func.max(case((col(Exposure.state) == State.DONE, col(Exposure.done_at))))
    last = select(Exposure.path, done_at).where(col(Exposure.path).in_(paths)).group_by(col(Exposure.path))
    return dict(session.exec(last).all()) if paths else {}


def _is_since(done: datetime | None, ended: datetime | None) -> bool:
    return done is not None and ended is not None and done >= ended
