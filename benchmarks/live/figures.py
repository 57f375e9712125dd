"""What comes out of a run: percentiles, the queue, the growth of memory; pure arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FrameTimes", "deepest", "depths", "growth", "latencies", "percentiles", "summary", "worse_by"]

CHAIN = ("identify", "calibrate", "measure", "solve", "flux", "append")
"""Steps that are work on the frame; all else between closing and rows, waiting too, is orchestration."""
_WARMING, _WINDOW = 0.1, 0.2
"""Of a run: what is left out at its begin, and the length of what is compared at both ends."""


@dataclass(frozen=True, kw_only=True)
class FrameTimes:
    """One frame, from its file to its rows.

    Attributes
    ----------
    name : str
    closed : float
        When the file was renamed into place, seconds since 1970.
    received, settled : float or None
        When the ledger's row was written, and when the ledger said how it ended, its rows being committed.
    state : str
    steps : mapping of str to float
        Seconds of each step.
    """

    name: str
    closed: float
    received: float | None
    settled: float | None
    state: str
    steps: Mapping[str, float]

    @property
    def latency(self) -> float | None:
        """Seconds from closed to settled."""
        return None if self.settled is None else self.settled - self.closed

    @property
    def orchestration(self) -> float | None:
        """Of it, the seconds that are no step of the chain; None where those of a step are not known."""
        if self.latency is None or any(step not in self.steps for step in CHAIN):
            return None
        return self.latency - sum(self.steps[step] for step in CHAIN)


def latencies(frames: Sequence[FrameTimes]) -> list[float]:
    """Return the seconds of those that were settled."""
    return [one.latency for one in frames if one.latency is not None]


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return p50, p95, p99 and the longest; NaN of nothing."""
    if not len(seconds):
        return dict.fromkeys(("p50", "p95", "p99", "max"), float("nan"))
    p50, p95, p99, longest = np.percentile(seconds, (50, 95, 99, 100)).tolist()
    return {"p50": p50, "p95": p95, "p99": p99, "max": longest}


def depths(frames: Sequence[FrameTimes], times: Sequence[float] | NDArray[np.float64]) -> NDArray[np.int64]:
    """Return how many files were closed and not yet settled at each of these times."""
    closed = np.sort([one.closed for one in frames])
    settled = np.sort([one.settled for one in frames if one.settled is not None])
    at = np.asarray(times, float)
    return np.searchsorted(closed, at, side="right") - np.searchsorted(settled, at, side="right")


def deepest(frames: Sequence[FrameTimes]) -> int:
    """Return how many files were closed and not settled at most; only a closing adds to them."""
    return int(depths(frames, [one.closed for one in frames]).max(initial=0))


def growth(values: Sequence[float]) -> float:
    """Return by what part of itself something grew over a run, sampled at even intervals.

    The medians of its first and last fifth are compared, after a tenth in which everything warms up.
    """
    rest = np.asarray(values, float)[int(_WARMING * len(values)) :]
    window = max(int(_WINDOW * len(rest)), 1)
    if len(rest) < 2 * window:
        return float("nan")
    before, after = np.median(rest[:window]), np.median(rest[-window:])
    return float((after - before) / before)


def worse_by(alone: float, beside: float) -> float:
    """Return by what part of itself a time became longer."""
    return beside / alone - 1.0


def summary(frames: Sequence[FrameTimes]) -> dict[str, Any]:
    """Return the figures of a run's frames, in seconds."""
    parts = {step: [one.steps[step] for one in frames if step in one.steps] for step in CHAIN}
    noticed = [one.received - one.closed for one in frames if one.received is not None]
    return {
        "frames": len(frames),
        "not_done": {one.name: one.state for one in frames if one.state != "done"},
        "seconds": percentiles(latencies(frames)),
        "orchestration": percentiles([one.orchestration for one in frames if one.orchestration is not None]),
        "noticed_p50": percentiles(noticed)["p50"],
        "steps_p50": {step: percentiles(seconds)["p50"] for step, seconds in parts.items()},
        "deepest_queue": deepest(frames),
    }
