"""Whether the rows of the store agree with each other.

What is wrong a million times is told by its number and the first few.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import func, select, text, update
from sqlmodel import Session, col

from nightflow.store import healpix
from nightflow.store.database import Database, serialise
from nightflow.store.models import (
    Exposure,
    Frame,
    Master,
    Measurement,
    Reduction,
    Source,
    State,
    is_detection,
)

__all__ = ["QUESTIONS", "Disagreement", "disagreements", "recount"]

EXAMPLES = 3
"""How many of a kind are named."""


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """Rows that do not agree with others.

    Attributes
    ----------
    question : str
        What was asked, such as "observation counts".
    number : int
        How many rows; 0: all is well.
    examples : tuple of str
        The first of them, in words.
    """

    question: str
    number: int
    examples: tuple[str, ...] = ()


def disagreements(database: Database) -> list[Disagreement]:
    """Ask every question of `QUESTIONS`, in one consistent view of the store."""
    with database.session() as session:
        return [ask(session) for ask in QUESTIONS]


def recount(database: Database) -> int:
    """Set what follows from other rows anew: how often sources were observed, and their place in the index.

    Returns
    -------
    int
        Sources that were mended.
    """
    with database.write() as session:
        # An append that commits between the counting and the writing would not be in the count.
        serialise(session, "association")
        miscounted, misplaced = session.execute(_miscounted()).all(), _misplaced(session)
        for source_id, _, counted in miscounted:
            session.execute(update(Source).where(col(Source.id) == source_id).values(n_obs=counted))
        for source_id, pixel in misplaced:
            session.execute(update(Source).where(col(Source.id) == source_id).values(healpix=pixel))
    return len({row[0] for row in (*miscounted, *misplaced)})


def _file(session: Session) -> Disagreement:
    """Ask SQLite whether its file is whole and every foreign key leads somewhere; Postgres sees to both."""
    if session.get_bind().dialect.name != "sqlite":
        return Disagreement(question="database file", number=0)
    damage = [str(row[0]) for row in session.execute(text("PRAGMA integrity_check")) if row[0] != "ok"]
    damage += [
        f"{row[0]} row {row[1]}: no such {row[2]}"
        for row in session.execute(text("PRAGMA foreign_key_check"))
    ]
    return Disagreement(question="database file", number=len(damage), examples=tuple(damage[:EXAMPLES]))


def _lost(session: Session) -> Disagreement:
    """Ask for lights that are done and have no current reduction."""
    current = select(col(Reduction.id)).where(
        col(Reduction.frame_id) == col(Frame.id), col(Reduction.current)
    )
    lost = (
        select(col(Exposure.path), col(Frame.detector))
        .join(Exposure, col(Frame.exposure_id) == col(Exposure.id))
        .where(
            col(Frame.kind) == "light",
            col(Frame.state) == State.DONE,
            col(Exposure.state) == State.DONE,
            ~current.exists(),
        )
    )
    return _answer(session, "lights without a reduction", lost, lambda row: f"{row[0]}, detector {row[1]}")


def _states(session: Session) -> Disagreement:
    """Ask for exposures that are done although one of their frames is not."""
    wrong = (
        select(col(Exposure.path), col(Frame.state), col(Frame.detector))
        .join(Frame, col(Frame.exposure_id) == col(Exposure.id))
        .where(col(Exposure.state) == State.DONE, col(Frame.state).not_in([State.DONE, State.REJECTED]))
    )
    return _answer(
        session, "states of exposures", wrong, lambda row: f"{row[0]} is done, its detector {row[2]} {row[1]}"
    )


def _masters(session: Session) -> Disagreement:
    """Ask for current reductions that name a master which the store does not know."""
    known = set(session.scalars(select(col(Master.fingerprint))))
    rows = session.execute(
        select(col(Exposure.path), col(Reduction.masters))
        .join(Frame, col(Reduction.frame_id) == col(Frame.id))
        .join(Exposure, col(Frame.exposure_id) == col(Exposure.id))
        .where(col(Reduction.current))
        .order_by(col(Reduction.id))
    )
    unknown = [
        f"{path}: {kind} {fingerprint[:12]}"
        for path, used in rows
        for kind, fingerprint in sorted(used.items())
        if fingerprint not in known
    ]
    return Disagreement(
        question="masters of reductions", number=len(unknown), examples=tuple(unknown[:EXAMPLES])
    )


def _counts(session: Session) -> Disagreement:
    """Ask for sources whose number of observations is not that of their current reductions."""
    return _answer(
        session,
        "observation counts",
        _miscounted(),
        lambda row: f"source {row[0]}: {row[1]} noted, {row[2]} counted",
    )


def _miscounted() -> Any:
    """Return the statement for (source, noted, counted) of those that differ."""
    counted = (
        select(
            col(Measurement.source_id).label("source_id"),
            func.count(func.distinct(col(Measurement.reduction_id))).label("number"),
        )
        .join(Reduction, col(Measurement.reduction_id) == col(Reduction.id))
        .where(col(Reduction.current), col(Measurement.source_id).is_not(None), is_detection())
        .group_by(col(Measurement.source_id))
        .subquery()
    )
    number = func.coalesce(counted.c.number, 0)
    return (
        select(col(Source.id), col(Source.n_obs), number)
        .join(counted, counted.c.source_id == col(Source.id), isouter=True)
        .where(col(Source.n_obs) != number)
        .order_by(col(Source.id))
    )


def _twice(session: Session) -> Disagreement:
    """Ask for sources that have two detections of one frame."""
    twice = (
        select(col(Measurement.source_id), col(Measurement.reduction_id))
        .join(Reduction, col(Measurement.reduction_id) == col(Reduction.id))
        .where(col(Reduction.current), col(Measurement.source_id).is_not(None), is_detection())
        .group_by(col(Measurement.reduction_id), col(Measurement.source_id))
        .having(func.count(func.distinct(col(Measurement.number))) > 1)
        .order_by(col(Measurement.reduction_id), col(Measurement.source_id))
    )
    return _answer(
        session, "detections of sources", twice, lambda row: f"source {row[0]} in reduction {row[1]}"
    )


def _places(session: Session) -> Disagreement:
    """Ask for sources that the index on the sky has elsewhere than they are: no search would find them."""
    wrong = _misplaced(session)
    return Disagreement(
        question="index on the sky",
        number=len(wrong),
        examples=tuple(f"source {one} belongs into pixel {pixel}" for one, pixel in wrong[:EXAMPLES]),
    )


def _misplaced(session: Session) -> list[tuple[int, int]]:
    rows = session.execute(
        select(col(Source.id), col(Source.ra), col(Source.dec), col(Source.healpix)).order_by(col(Source.id))
    ).all()
    if not rows:
        return []
    ids, ra, dec, noted = (np.array(values) for values in zip(*rows, strict=True))
    right = healpix.pixel(ra.astype(float), dec.astype(float))
    return [(int(ids[k]), int(right[k])) for k in np.flatnonzero(right != noted.astype(np.int64))]


def _answer(
    session: Session,
    question: str,
    wrong: Any,
    words: Callable[[Any], str],
) -> Disagreement:
    number = session.execute(select(func.count()).select_from(wrong.order_by(None).subquery())).scalar_one()
    rows = session.execute(wrong.limit(EXAMPLES)).all() if number else []
    return Disagreement(
        question=question,
        number=number,
        examples=tuple(words(row) for row in rows),
    )


QUESTIONS: tuple[Callable[[Session], Disagreement], ...] = (
    _file, _lost, _states, _masters, _counts, _twice, _places,
)  # fmt: skip
"""What is asked, in this order."""
