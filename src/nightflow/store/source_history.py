"""What became of sources when a night was associated anew: merged, split, renamed, dissolved."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import insert
from sqlmodel import Session

from nightflow.store.models import SourceHistory
from nightflow.store.night_fields import StoredField
from nightflow.store.sources import SourceRows

__all__ = ["CONFIRMED", "put_history"]

CONFIRMED = 2
"""Detections, on different frames."""


def put_history(
    session: Session,
    field: StoredField,
    rows: SourceRows,
    source: NDArray[np.int64],
    gone: NDArray[np.int64],
    night: str,
    now: datetime,
) -> None:
    """Note what became of sources that were more than one detection of something.

    Parameters
    ----------
    field : StoredField
        Its detections, and the sources that they belonged to.
    rows : SourceRows
        Those sources.
    source : ndarray of int64
        Row of the source that each detection belongs to now; 0: to none.
    gone : ndarray of int64
        Rows of the sources that are dropped.
    night : str
    now : datetime
        Aware.
    """
    counted = (rows.n_obs >= CONFIRMED) | rows.in_catalog | (rows.n_position > 0)
    existed, lost, told = set(rows.ids.tolist()), set(gone.tolist()), set(rows.ids[counted].tolist())
    entries: list[dict[str, Any]] = []
    stayed = set(np.unique(field.source[source == field.source]).tolist())
    moved = (source != field.source) & (field.source > 0)
    ways, numbers = np.unique(
        np.column_stack([field.source[moved], source[moved]]), axis=0, return_counts=True
    )
    n_heirs = Counter(ways[:, 0].tolist())
    for (one, heir), number in zip(ways.tolist(), numbers.tolist(), strict=True):
        change = _change(one, heir, lost, existed, n_heirs[one] > 1 or one in stayed) if one in told else ""
        if change:
            entries.append(
                {
                    "source_id": one,
                    "became": heir or None,
                    "change": change,
                    "n_measurements": number,
                    "night": night,
                    "at": now,
                }
            )
    if entries:
        session.connection().execute(insert(SourceHistory), entries)


def _change(one: int, heir: int, lost: set[int], existed: set[int], several: bool) -> str:
    """Return what to call it, "" for single detections that a source lost to nothing or to another."""
    if heir == 0:
        return "dissolved" if one in lost and not several else ""
    if one not in lost or several:
        return "split"
    return "merged" if heir in existed else "renamed"
