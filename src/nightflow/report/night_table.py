"""The table of a night: the rows of `nightflow frames`, and a verdict on each."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from nightflow.report.verdicts import judge_night
from nightflow.store.overview import FRAME_COLUMNS

__all__ = ["COLUMNS", "night_csv", "with_verdicts"]

COLUMNS = ("verdict", "why", *FRAME_COLUMNS)
"""Columns of the CSV; ``verdict`` is pass or fail."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def with_verdicts(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of a night with ``verdict`` and ``why``."""
    return [
        {"verdict": "fail" if why else "pass", "why": why, **row}
        for row, why in zip(rows, judge_night(rows), strict=True)
    ]


def night_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return judged rows as CSV; an empty cell is null.

    Text that a spreadsheet would take for a formula gets an apostrophe in front: an OBJECT is anybody's text.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(row.get(name)) for name in COLUMNS} for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return "" if value is None else value
