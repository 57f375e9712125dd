"""Kinds of columns."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    DateTime,
    Dialect,
    Integer,
    Text,
)
from sqlalchemy.types import TypeDecorator

__all__ = ["PlainText", "SourceId", "UtcDateTime", "finite", "plain_text"]

SourceId = BigInteger().with_variant(Integer, "sqlite")
"""SQLite knows one kind of integer that is also the row's own number, and it has 64 bits."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time, also where the database (SQLite) keeps no zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive times, store UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive time {value!r}: give it a zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class PlainText(TypeDecorator[str]):
    r"""Text from outside, stored and shown as text whatever stands in it.

    Postgres refuses NUL, and no database takes half a surrogate pair (Python's mark of a file name that is
    not UTF-8): both are written as an escape (``\x00``, ``\udcff``).
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Escape what no database can hold."""
        return None if value is None else plain_text(value)


def plain_text(value: str) -> str:
    """Return ``value`` with NUL and lone surrogates written as escapes."""
    return value.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")


def finite(value: float | None) -> float | None:
    """Return ``value``, or None where it is not a finite number: no database gets NaN."""
    return float(value) if value is not None and math.isfinite(value) else None
