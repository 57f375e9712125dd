"""Conditions of questions about the last few rows of a long ledger.

Without a count of its rows SQLite would go by the index of a column that most of them share.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement
from sqlalchemy.orm import aliased
from sqlmodel import col, select

from nightflow.store.models import Exposure

__all__ = ["landed_after", "unindexed"]


def landed_after(moment: datetime) -> ColumnElement[bool]:
    """Return whether an exposure was received later; those that were are looked up first."""
    landed = aliased(Exposure)
    return col(Exposure.id).in_(select(landed.id).where(col(landed.received_at) > moment))


def unindexed(column: str) -> ColumnElement[str]:
    """Return a column of text for a condition that shall be looked at last, by no index."""
    return col(column).op("||")("")
