"""A run as a figure: every frame's seconds, how they are distributed, the queue, the memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from benchmarks.live.figures import FrameTimes, depths, latencies, percentiles

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from benchmarks.live.cases import Run

__all__ = ["plot"]

_COLORS = ("#0072B2", "#D55E00")
_GREY = "0.6"
_MIB = 2**20
_BAR = 0.4
"""Height of a step's bar: two runs stand one above the other."""


def plot(name: str, run: Run, path: Path) -> None:
    """Draw a run into a PNG."""
    rows = 3 if run.memory else 2
    figure = Figure(figsize=(9.0, 2.6 * rows), layout="constrained")
    panels = figure.subplots(rows, 2, squeeze=False, width_ratios=(3, 1))
    for number, (label, frames) in enumerate(run.panels.items()):
        color = _COLORS[number]
        _frames(panels[0, 0], frames, label, color)
        _distribution(panels[0, 1], frames, color)
        _queue(panels[1, 0], frames, label, color)
        _steps(panels[1, 1], frames, number)
    for label, (times, values) in run.memory.items():
        _memory(panels[2, 0], times, values, label)
        panels[2, 1].axis("off")
    # At the end: from then on an axis does not follow what is drawn into it.
    for axes in panels[:, 0]:
        axes.set_ylim(bottom=0.0)
    panels[0, 1].set_xlim(left=0.0)
    panels[0, 0].legend(loc="upper right", fontsize=8)
    figure.suptitle(f"{name}: a file is closed, its rows are committed ({_size(run)})", fontsize=11)
    figure.savefig(path, dpi=120)


def _size(run: Run) -> str:
    figures = run.figures
    return f"{figures['side']} x {figures['side']}, one frame every {figures['cadence']:g} s, products on"


def _frames(axes: Axes, frames: list[FrameTimes], label: str, color: str) -> None:
    settled = [one for one in frames if one.latency is not None]
    minutes = (np.array([one.closed for one in settled]) - frames[0].closed) / 60.0
    axes.plot(minutes, [one.latency for one in settled], ".", ms=4, color=color, label=label)
    axes.set(xlabel="minutes", ylabel="closed to rows (s)")


def _distribution(axes: Axes, frames: list[FrameTimes], color: str) -> None:
    seconds = np.sort(latencies(frames))
    axes.step(seconds, np.arange(1, len(seconds) + 1) / max(len(seconds), 1), where="post", color=color)
    found = percentiles(seconds)
    for key in ("p50", "p95", "p99"):
        axes.axvline(found[key], ls=":", lw=0.8, color=color)
    axes.set(xlabel="closed to rows (s)", ylabel="share of frames", ylim=(0.0, 1.02))


def _queue(axes: Axes, frames: list[FrameTimes], label: str, color: str) -> None:
    times = np.arange(frames[0].closed, frames[-1].closed + 1.0, 1.0)
    axes.plot((times - frames[0].closed) / 60.0, depths(frames, times), lw=0.8, color=color, label=label)
    axes.set(xlabel="minutes", ylabel="files closed, not settled")


def _steps(axes: Axes, frames: list[FrameTimes], number: int) -> None:
    known = [one for one in frames if one.orchestration is not None]
    names = ("orchestration", *(known[0].steps if known else ()))
    for row, step in enumerate(names):
        seconds = [one.orchestration if step == "orchestration" else one.steps.get(step) for one in known]
        median = np.median([one for one in seconds if one is not None])
        axes.barh(row + _BAR * number, median, height=_BAR, color=_COLORS[number])
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set(xlabel="median (s)")


def _memory(axes: Axes, times: list[float], values: list[int], label: str) -> None:
    if times:
        minutes = (np.array(times) - times[0]) / 60.0
        axes.plot(minutes, np.array(values) / _MIB, lw=0.6, color=_GREY, label=label)
    axes.set(xlabel="minutes", ylabel="memory (MiB)")
    axes.legend(loc="lower right", fontsize=8)
