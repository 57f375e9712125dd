"""What a benchmark is, and how one is run: agree first, then time both sides in turns."""

from __future__ import annotations

import statistics
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

__all__ = [
    "Agreement",
    "Case",
    "Outcome",
    "Side",
    "Skipped",
    "both",
    "close",
    "is_another_due",
    "run_benchmark",
    "time_in_turns",
]

SECONDS = 12.0
"""For the timed rounds of both sides together, about."""

FEWEST, MOST = 3, 15
"""Rounds."""

PATIENCE = 60.0
"""Seconds after which fewer than `FEWEST` rounds must do: one, where a peer takes a minute."""


class Skipped(Exception):  # noqa: N818 - an answer, not a fault: the peer is not installed here
    """There is nothing to measure against; the message says what is missing."""


@dataclass(frozen=True)
class Agreement:
    """Whether both sides gave the same answer.

    Attributes
    ----------
    ok : bool
    detail : str
        The figures behind the verdict.
    """

    ok: bool
    detail: str


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two.

    Attributes
    ----------
    run : callable
        What is timed. Called without an argument, or with what ``fresh`` returned.
    fresh : callable, optional
        Makes what each round needs anew (a frame that was not appended yet); outside of the clock.
    """

    run: Callable[..., Any]
    fresh: Callable[[], Any] | None = None

    def once(self) -> tuple[Any, float]:
        """Return the answer of one round and its seconds."""
        arguments = () if self.fresh is None else (self.fresh(),)
        started = time.perf_counter()
        answer = self.run(*arguments)
        return answer, time.perf_counter() - started


@dataclass(frozen=True, kw_only=True)
class Case:
    """Two sides that answer one question.

    Attributes
    ----------
    ours, peer : Side
    peer_name : str
        Program, version, and what a reader must know of how it was run.
    agree : callable
        (our answer, the peer's) -> Agreement.
    """

    ours: Side
    peer: Side
    peer_name: str
    agree: Callable[[Any, Any], Agreement]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a benchmark ended.

    Attributes
    ----------
    name, peer_name : str
    state : {"timed", "disagrees", "failed", "skipped"}
    detail : str
        The agreement's figures, or why there are none.
    ours, peer : float or None
        Seconds, medians of the rounds.
    rounds : int
    """

    name: str
    state: str
    detail: str
    peer_name: str = ""
    ours: float | None = None
    peer: float | None = None
    rounds: int = 0

    @property
    def ratio(self) -> float | None:
        """Peer over ours."""
        return None if not self.ours or self.peer is None else self.peer / self.ours

    @property
    def is_bad(self) -> bool:
        """Whether something is wrong with it."""
        return self.state in ("disagrees", "failed")


def run_benchmark(
    name: str, build: Callable[[], AbstractContextManager[Case]], *, seconds: float = SECONDS
) -> Outcome:
    """Build one benchmark, check that its sides agree, time them.

    Parameters
    ----------
    name : str
        For the table.
    build : callable
        Makes the data; the context ends when the timing is done.
    seconds : float
        For the timed rounds of both sides together.

    Returns
    -------
    Outcome
        Whatever happens: one benchmark that fails does not keep the others from running.
    """
    try:
        with build() as case:
            return _measure(name, case, seconds)
    except Skipped as reason:
        return Outcome(name=name, state="skipped", detail=str(reason))
    except Exception as error:  # noqa: BLE001 - reported as failed, and the exit code says so
        where = traceback.extract_tb(error.__traceback__)[-1]
        detail = f"{type(error).__name__}: {error} ({where.name}, line {where.lineno})"
        return Outcome(name=name, state="failed", detail=detail)


def _measure(name: str, case: Case, seconds: float) -> Outcome:
    # The round whose answers are compared also warms up both sides: compilers, caches, connections.
    (ours, _), (peer, _) = case.ours.once(), case.peer.once()
    agreement = case.agree(ours, peer)
    if not agreement.ok:
        return Outcome(name=name, state="disagrees", detail=agreement.detail, peer_name=case.peer_name)
    del ours, peer
    our_seconds, peer_seconds, rounds = time_in_turns(case, seconds)
    return Outcome(
        name=name,
        state="timed",
        detail=agreement.detail,
        peer_name=case.peer_name,
        ours=our_seconds,
        peer=peer_seconds,
        rounds=rounds,
    )


def time_in_turns(case: Case, seconds: float) -> tuple[float, float, int]:
    """Return the median seconds of ours and of the peer, and how many rounds.

    The sides take turns, so that what else the machine does hits both.
    """
    ours: list[float] = []
    peer: list[float] = []
    while is_another_due(len(ours), sum(ours) + sum(peer), seconds):
        ours.append(case.ours.once()[1])
        peer.append(case.peer.once()[1])
    return statistics.median(ours), statistics.median(peer), len(ours)


def is_another_due(rounds: int, spent: float, seconds: float) -> bool:
    """Return whether to go on after so many rounds that took ``spent`` seconds, ``seconds`` being meant."""
    if rounds < FEWEST:
        return rounds == 0 or spent < PATIENCE
    return rounds < MOST and spent < seconds


def close(label: str, value: float, limit: float, unit: str = "") -> Agreement:
    """Return the agreement of a difference with its limit; NaN never agrees."""
    return Agreement(bool(value <= limit), f"{label} {value:.3g}{unit} (limit {limit:g}{unit})")


def both(*parts: Agreement) -> Agreement:
    """Return the agreement of several."""
    return Agreement(all(part.ok for part in parts), "; ".join(part.detail for part in parts))
