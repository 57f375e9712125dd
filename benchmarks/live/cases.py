"""The cases: what lands, how fast, and what may come out of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.live.delivery import live_plan, live_scale
from benchmarks.live.figures import FrameTimes, depths, growth, summary, worse_by
from benchmarks.live.memory import sampled_memory
from benchmarks.live.prefect_database import prefect_database
from benchmarks.live.rig import Rig
from benchmarks.workshop import Workshop

__all__ = ["CASES", "Bar", "Case", "Options", "Run", "Workshops"]

MOST_ORCHESTRATION = 0.5
MOST_QUEUED = 5
MOST_GROWTH = 0.05
MOST_WORSE = 0.25
LONGEST_BACKFILL = 5.0
"""Seconds a frame, after which something is wrong with it."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What was asked for on the command line; None: as the case has it."""

    frames: int | None = None
    cadence: float | None = None
    backfill: int = 500


@dataclass(frozen=True, kw_only=True)
class Bar:
    """What a figure may be at most."""

    what: str
    value: float
    limit: float

    @property
    def is_kept(self) -> bool:
        """False for NaN, too."""
        return self.value <= self.limit


@dataclass(frozen=True, kw_only=True)
class Run:
    """How a case went.

    Attributes
    ----------
    figures : dict
        For the file.
    bars : list of Bar
    panels : dict of str to list of FrameTimes
        What is drawn, by label.
    memory : dict of str to tuple
        Seconds since 1970 and bytes, by label.
    """

    figures: dict[str, Any]
    bars: list[Bar]
    panels: dict[str, list[FrameTimes]]
    memory: dict[str, tuple[list[float], list[int]]]


class Workshops:
    """Frames of each size, simulated when first asked for; their folders are gone when the block ends."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._made: dict[int, Workshop] = {}

    def __enter__(self) -> Workshops:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def of(self, side: int) -> Workshop:
        """Return the workshop whose frames have this side."""
        if side not in self._made:
            scale = live_scale(side)
            self._made[side] = self._stack.enter_context(Workshop(scale, live_plan(scale)))
        return self._made[side]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One of `CASES`.

    Attributes
    ----------
    side : int
        Pixels along each side of a frame.
    frames : int
    cadence : float
        Seconds; both where nothing else is asked for.
    measure : callable
        (workshop, frames, cadence, options) -> Run.
    """

    side: int
    frames: int
    cadence: float
    measure: Callable[[Workshop, int, float, Options], Run]

    def run(self, workshops: Workshops, options: Options) -> Run:
        """Let the frames land, and say how it went."""
        frames = self.frames if options.frames is None else options.frames
        cadence = self.cadence if options.cadence is None else options.cadence
        run = self.measure(workshops.of(self.side), frames, cadence, options)
        bars = {bar.what: {"value": bar.value, "limit": bar.limit, "kept": bar.is_kept} for bar in run.bars}
        run.figures.update(side=self.side, cadence=cadence, bars=bars)
        return run


def _latency(p50: float, p95: float) -> Callable[[Workshop, int, float, Options], Run]:
    """Return the measurement of frames that land with pauses between them."""

    def measure(workshop: Workshop, frames: int, cadence: float, options: Options) -> Run:
        with Rig.warm(workshop, spacing=cadence) as rig:
            landed = _landed(rig, "live", frames, cadence)
        figures = summary(landed) | _each(landed)
        bars = [
            Bar(what="p50 [s]", value=figures["seconds"]["p50"], limit=p50),
            Bar(what="p95 [s]", value=figures["seconds"]["p95"], limit=p95),
            Bar(
                what="orchestration p50 [s]",
                value=figures["orchestration"]["p50"],
                limit=MOST_ORCHESTRATION,
            ),
            _all_done(landed),
        ]
        return Run(figures=figures, bars=bars, panels={"live": landed}, memory={})

    return measure


def _sustained(database: str) -> Callable[[Workshop, int, float, Options], Run]:
    """Return the measurement of frames that leave no pause."""

    def measure(workshop: Workshop, frames: int, cadence: float, options: Options) -> Run:
        with prefect_database(database) as url, Rig.warm(workshop, spacing=cadence, database=url) as rig:
            with sampled_memory(rig.service.pid) as memory:
                landed = _landed(rig, "live", frames, cadence)
            running = sum(time <= landed[-1].closed for time in memory.times)
        seconds = np.arange(landed[0].closed, landed[-1].closed, 1.0)
        grown = growth(memory.totals[:running])
        figures = summary(landed) | _each(landed)
        figures |= {
            "prefect_database": database,
            "queue_each_second": depths(landed, seconds).tolist(),
            "memory_bytes": memory.totals,
            "memory_processes": max(memory.processes, default=0),
            "memory_growth": grown,
        }
        bars = [
            Bar(what="deepest queue", value=figures["deepest_queue"], limit=MOST_QUEUED),
            Bar(what="growth of memory", value=grown, limit=MOST_GROWTH),
            _all_done(landed),
        ]
        drawn = {"service and workers": (memory.times, memory.totals)}
        return Run(figures=figures, bars=bars, panels={f"Prefect on {database}": landed}, memory=drawn)

    return measure


def _backfill_beside_live(workshop: Workshop, frames: int, cadence: float, options: Options) -> Run:
    """Let frames land, first alone and then as long as a backfill lasts."""
    with Rig.warm(workshop, spacing=cadence) as rig:
        alone = _landed(rig, "alone", frames, cadence)
        archive = rig.settings.root / "archive"
        rig.delivery.stock(archive, options.backfill)
        before = rig.known()
        with rig.backfill(archive) as backfill:
            most = int(options.backfill * LONGEST_BACKFILL / cadence) + 60
            closed = rig.deliver_beside(backfill, "beside", cadence, most)
        rig.wait_until_settled(before + options.backfill + len(closed))
        beside, said = rig.times(closed), rig.backfill_said
    figures: dict[str, Any] = {
        "alone": summary(alone) | _each(alone),
        "beside": summary(beside) | _each(beside),
        "backfill_frames": options.backfill,
        "backfill_status": backfill.returncode,
        "backfill_said": said,
    }
    worse = worse_by(figures["alone"]["seconds"]["p95"], figures["beside"]["seconds"]["p95"])
    figures["worse_by"] = worse
    bars = [
        Bar(what="p95 worse by", value=worse, limit=MOST_WORSE),
        Bar(what="status of the backfill", value=float(backfill.returncode), limit=0.0),
        _all_done([*alone, *beside]),
    ]
    panels = {"alone": alone, "beside a backfill": beside}
    return Run(figures=figures, bars=bars, panels=panels, memory={})


def _landed(rig: Rig, name: str, frames: int, cadence: float) -> list[FrameTimes]:
    before = rig.known()
    closed = rig.deliver(name, frames, cadence)
    rig.wait_until_settled(before + frames)
    return rig.times(closed)


def _all_done(frames: Sequence[FrameTimes]) -> Bar:
    return Bar(what="frames not done", value=sum(one.state != "done" for one in frames), limit=0)


def _each(frames: Sequence[FrameTimes]) -> dict[str, Any]:
    return {"seconds_each": [None if one.latency is None else round(one.latency, 3) for one in frames]}


CASES = {
    "live_2k": Case(side=2048, frames=40, cadence=5.0, measure=_latency(1.2, 2.5)),
    "live_4k": Case(side=4096, frames=20, cadence=10.0, measure=_latency(2.5, 5.0)),
    "sustained_postgres": Case(side=2048, frames=1200, cadence=1.0, measure=_sustained("postgres")),
    "sustained_sqlite": Case(side=2048, frames=1200, cadence=1.0, measure=_sustained("sqlite")),
    "backfill_beside_live": Case(side=2048, frames=60, cadence=5.0, measure=_backfill_beside_live),
}
"""By name."""
