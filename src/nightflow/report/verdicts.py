"""Which light frames of a night are good, by one table of rules.

A rule never changes a frame's state: it tells the reader of the night's report what to look at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

__all__ = ["RULES", "Rule", "judge_night"]

Row = Mapping[str, Any]
"""A row of `nightflow.store.overview.frame_rows`."""

_WIDEST = 1.8
"""FWHM in units of the night's median of the camera and the filter."""
_LONGEST = 0.35
"""Ellipticity: the long axis is half as long again as the short one."""
_DIMMEST = 0.75
"""Magnitudes below the night's median zero point: half of the light is gone."""


@dataclass(frozen=True)
class Rule:
    """One reason to look at a frame.

    Attributes
    ----------
    name : str
        As it stands in the report.
    fails : callable
        (row, the night's rows of the same filter) -> why in words, "" where the rule is met.
    """

    name: str
    fails: Callable[[Row, Sequence[Row]], str]


def judge_night(rows: Sequence[Row]) -> list[str]:
    """Return for each row "" where it passes, else what is wrong with it.

    Parameters
    ----------
    rows : sequence of mapping
        Rows of `nightflow.store.overview.frame_rows` of one night. Calibration frames pass when they are
        done; light frames must meet every rule of `RULES`.
    """
    return ["; ".join(_faults(row, _peers(row, rows))) for row in rows]


def _faults(row: Row, peers: Sequence[Row]) -> list[str]:
    rules = RULES if row["kind"] == "light" else RULES[:1]
    found = ((rule.name, rule.fails(row, peers)) for rule in rules)
    return [f"{name}: {why}" for name, why in found if why]


def _peers(row: Row, rows: Sequence[Row]) -> list[Row]:
    return [
        other
        for other in rows
        if other["kind"] == "light" and other["state"] == "done" and _series(other) == _series(row)
    ]


def _series(row: Row) -> tuple[Any, ...]:
    return row["detector"], row["filter"], row["zp_catalog"]


def _state(row: Row, _: Sequence[Row]) -> str:
    return "" if row["state"] == "done" else str(row["state"])


def _wcs(row: Row, _: Sequence[Row]) -> str:
    if row["state"] != "done":
        return ""
    return "" if row["wcs_quality"] in ("verified", "provisional") else "none"


def _zero_point(row: Row, _: Sequence[Row]) -> str:
    return "none" if row["state"] == "done" and row["zp"] is None else ""


def _fwhm(row: Row, peers: Sequence[Row]) -> str:
    typical = _typical("fwhm_px", peers)
    if row["fwhm_px"] is None or typical is None or row["fwhm_px"] <= _WIDEST * typical:
        return ""
    return f"{row['fwhm_px']:.1f} px, the night's median is {typical:.1f}"


def _ellipticity(row: Row, _: Sequence[Row]) -> str:
    if row["ellipticity"] is None or row["ellipticity"] <= _LONGEST:
        return ""
    return f"{row['ellipticity']:.2f}, more than {_LONGEST:g}"


def _transparency(row: Row, peers: Sequence[Row]) -> str:
    typical = _typical("zp", peers)
    if row["zp"] is None or typical is None or row["zp"] >= typical - _DIMMEST:
        return ""
    return f"{typical - row['zp']:.2f} mag below the night's median"


def _typical(name: str, rows: Sequence[Row]) -> float | None:
    values = [row[name] for row in rows if row[name] is not None]
    return median(values) if values else None


RULES = (
    Rule("state", _state),
    Rule("wcs", _wcs),
    Rule("zero point", _zero_point),
    Rule("fwhm", _fwhm),
    Rule("ellipticity", _ellipticity),
    Rule("transparency", _transparency),
)
"""The first holds for every frame, the others for light frames."""
