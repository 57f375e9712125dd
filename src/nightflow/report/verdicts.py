"""Which frames of a night are good, by one table of rules.

A rule never changes a frame's state: it tells the reader of the night's report what to look at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["RULES", "Rule", "judge_night"]

Row = Mapping[str, Any]
"""A row of `nightflow.pipeline.grade.grade_night`."""


@dataclass(frozen=True)
class Rule:
    """One reason to look at a frame.

    Attributes
    ----------
    name : str
        As it stands in the report.
    fails : callable
        row -> why in words, "" where the rule is met.
    """

    name: str
    fails: Callable[[Row], str]


def judge_night(rows: Sequence[Row]) -> list[str]:
    """Return for each row "" where it passes, else what is wrong with it.

    Parameters
    ----------
    rows : sequence of mapping
        Rows of `nightflow.pipeline.grade.grade_night`. Calibration frames pass when they are done; light
        frames must meet every rule of `RULES`.
    """
    return ["; ".join(_faults(row)) for row in rows]


def _faults(row: Row) -> list[str]:
    rules = RULES if row["kind"] == "light" else RULES[:1]
    found = ((rule.name, rule.fails(row)) for rule in rules)
    return [f"{name}: {why}" for name, why in found if why]


def _state(row: Row) -> str:
    return "" if row["state"] == "done" else str(row["state"])


def _wcs(row: Row) -> str:
    if row["state"] != "done":
        return ""
    return "" if row["wcs_quality"] in ("verified", "provisional") else "none"


def _zero_point(row: Row) -> str:
    return "none" if row["state"] == "done" and row["zp"] is None else ""


def _grade(row: Row) -> str:
    return f"{row['grade']} ({row['grade_reason']})" if row["grade"] in ("bad", "unknown") else ""


RULES = (
    Rule("state", _state),
    Rule("wcs", _wcs),
    Rule("zero point", _zero_point),
    Rule("grade", _grade),
)
"""The first holds for every frame, the others for light frames."""
