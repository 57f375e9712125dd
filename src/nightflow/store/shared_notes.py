"""What the reductions of a light curve's frames have to say of all its points."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from sqlalchemy import select
from sqlmodel import Session, col

from nightflow.store.models import Reduction

__all__ = ["shared_notes"]

_AT_ONCE = 400
_SHARED = 0.5
"""Of the frames that must say it."""


def shared_notes(session: Session, reduction_ids: Iterable[int]) -> list[str]:
    """Return the notes and warnings that at least half of these reductions have, in the order of the chain.

    Parameters
    ----------
    reduction_ids : iterable of int
    """
    ids = sorted({int(one) for one in reduction_ids})
    said: Counter[str] = Counter()
    for start in range(0, len(ids), _AT_ONCE):
        some = ids[start : start + _AT_ONCE]
        for notes in session.scalars(select(col(Reduction.warnings)).where(col(Reduction.id).in_(some))):
            said.update(list(dict.fromkeys(notes)))
    return [note for note, number in said.items() if number >= _SHARED * len(ids)]
