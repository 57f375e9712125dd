"""One log line a frame, for people and for ``grep``: what it is, how it ended, how long each step took."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

from nightflow.store.database import Database
from nightflow.store.frames import frames_of
from nightflow.store.models import Exposure, State
from nightflow.store.overview import current_reduction, get_exposure

__all__ = ["frame_lines", "log_exposure"]

log = logging.getLogger("nightflow.frames")

_OF_THE_EXPOSURE = ("identify", "conclude")
_OF_A_FRAME = ("append", "settle")
"""Steps whose seconds no reduction can tell: it is written by the first of them."""
_ROUNDING = 1.0
"""Seconds by which the clocks of a service and of its workers' rows may seem to differ."""
Taken = Mapping[tuple[str, int], float]
"""Step and row (of a frame, or of the exposure) -> seconds."""


def log_exposure(
    database: Database, exposure_id: int, seconds: float, taken: Taken = MappingProxyType({})
) -> None:
    """Log how an exposure ended, one line a frame.

    Parameters
    ----------
    seconds : float
        From its lease to its end.
    taken : mapping
        How long each step took, by step and row: the frame's, or the exposure's.
    """
    exposure = get_exposure(database, exposure_id)
    if exposure is not None:
        for line in frame_lines(database, exposure, seconds, taken):
            log.log(logging.ERROR if exposure.state == "failed" else logging.INFO, "%s", line)


def frame_lines(
    database: Database, exposure: Exposure, seconds: float, taken: Taken = MappingProxyType({})
) -> list[str]:
    """Return ``key=value`` lines; a file without frames has one."""
    assert exposure.id is not None
    whole = {"file": Path(exposure.path).name, "exposure": exposure.id}
    frames = frames_of(database, exposure.id)
    if not frames:
        return [_line(whole | {"state": exposure.state, "seconds": seconds, "reason": exposure.reason})]
    lines, began = [], _began(exposure, seconds)
    for frame in frames:
        facts = whole | {
            "frame": frame.id,
            "kind": frame.kind,
            "object": frame.object,
            "filter": frame.filter,
            "state": frame.state,
            "seconds": seconds,
        }
        assert frame.id is not None
        own = _seconds(taken, _OF_THE_EXPOSURE, exposure.id) | _seconds(taken, _OF_A_FRAME, frame.id)
        measures = _measures(database, frame.id, began) if frame.state == State.DONE else {}
        lines.append(_line(facts | measures | own | {"reason": frame.reason}))
    return lines


def _seconds(taken: Taken, steps: Sequence[str], row: int) -> dict[str, float]:
    return {f"{step}_s": taken[step, row] for step in steps if (step, row) in taken}


def _began(exposure: Exposure, seconds: float) -> datetime | None:
    """Return when an exposure was taken up that has ended."""
    if exposure.done_at is None:
        return None
    return exposure.done_at - timedelta(seconds=seconds + _ROUNDING)


def _measures(database: Database, frame_id: int, began: datetime | None) -> dict[str, Any]:
    """Return what was measured; the seconds of each step only where they were taken now.

    Where nothing has changed the earlier version stands, with the seconds that it took.
    """
    reduction = current_reduction(database, frame_id)
    if reduction is None:
        return {}
    is_new = began is None or reduction.created_at >= began
    steps = {f"{step}_s": duration for step, duration in reduction.timings.items()} if is_new else {}
    return {"fwhm_px": reduction.fwhm_px, "zp": reduction.zp, **steps}


def _line(facts: dict[str, Any]) -> str:
    return " ".join(f"{key}={_shown(value)}" for key, value in facts.items() if value not in (None, ""))


def _shown(value: Any) -> str:
    """Return a value in one word; text with spaces or control characters is quoted."""
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value)
    return text if text.isprintable() and not set(text) & set(' "=') else json.dumps(text)
