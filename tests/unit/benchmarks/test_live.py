"""The arithmetic of the live benchmark, its copies of frames, and its file of results."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.time import TimeDelta

from benchmarks.live import __main__ as program
from benchmarks.live.cases import CASES, Bar, Run
from benchmarks.live.delivery import Delivery, Template
from benchmarks.live.figures import (
    CHAIN,
    FrameTimes,
    deepest,
    depths,
    growth,
    percentiles,
    summary,
    worse_by,
)
from benchmarks.live.memory import MemorySamples
from benchmarks.live.rig import steps_of


def frame(closed: float, latency: float | None, *, name: str = "a.fits", step: float = 0.1) -> FrameTimes:
    return FrameTimes(
        name=name,
        closed=closed,
        received=closed + 0.01,
        settled=None if latency is None else closed + latency,
        state="done" if latency is not None else "received",
        steps=dict.fromkeys(CHAIN, step),
    )


def test_percentiles_are_those_of_the_frames() -> None:
    assert percentiles([float(one) for one in range(101)]) == {"p50": 50, "p95": 95, "p99": 99, "max": 100}
    assert all(math.isnan(one) for one in percentiles([]).values())


def test_what_is_no_step_of_the_chain_is_orchestration() -> None:
    one = frame(100.0, 1.0, step=0.125)
    assert one.orchestration == pytest.approx(1.0 - 6 * 0.125)
    without = FrameTimes(
        name="a", closed=0.0, received=0.0, settled=1.0, state="done", steps={"measure": 0.5}
    )
    assert without.orchestration is None


def test_the_queue_holds_what_is_closed_and_not_settled() -> None:
    frames = [frame(0.0, 2.5), frame(1.0, 2.0), frame(2.0, 4.0), frame(3.0, None)]
    assert depths(frames, [-1.0, 0.5, 1.0, 2.0, 2.75, 3.0, 9.0]).tolist() == [0, 1, 2, 3, 2, 2, 1]
    assert deepest(frames) == 3
    assert deepest([]) == 0


def test_growth_compares_the_ends_of_what_is_warm() -> None:
    warming = [10.0] * 10
    assert growth([*warming, *np.linspace(100.0, 100.0, 90)]) == 0.0
    assert growth([*warming, *([100.0] * 45), *([104.0] * 45)]) == pytest.approx(0.04)
    # Frames come and go: what one holds for a moment is no growth.
    assert growth([*warming, *([100.0, 100.0, 180.0] * 30)]) == 0.0
    assert math.isnan(growth([1.0]))
    assert worse_by(1.0, 1.25) == pytest.approx(0.25)


def test_a_summary_names_what_is_not_done() -> None:
    figures = summary([frame(0.0, 1.0), frame(1.0, None, name="lost.fits")])
    assert figures["not_done"] == {"lost.fits": "received"}
    assert figures["seconds"]["p50"] == pytest.approx(1.0)
    assert figures["steps_p50"] == dict.fromkeys(CHAIN, 0.1)


def test_bars_are_missed_by_what_is_no_number() -> None:
    assert Bar(what="p50", value=1.2, limit=1.2).is_kept
    assert not Bar(what="p50", value=float("nan"), limit=1.2).is_kept


def test_seconds_of_the_steps_are_read_from_the_log() -> None:
    line = (
        '2026-01-01 INFO file=a.fits state=done seconds=1.0 measure_s=0.250 append_s=0.5 reason="dark: b=c"'
    )
    assert steps_of(f"other words\n{line}\n") == {"a.fits": {"measure": 0.25, "append": 0.5}}


def test_memory_is_that_of_all_processes() -> None:
    samples = MemorySamples()
    samples.take(os.getpid())
    assert samples.processes[0] >= 1
    assert samples.totals[0] > 2**20


def test_each_frame_that_lands_has_a_time_of_its_own_and_the_same_pixels(tmp_path: Path) -> None:
    raw = tmp_path / "raw.fits"
    pixels = np.arange(12, dtype=np.int16).reshape(3, 4)
    fits.writeto(raw, pixels, fits.Header([("DATE-OBS", "2025-10-24T01:02:03.456", "UTC")]))
    folder = tmp_path / "incoming"
    folder.mkdir()
    delivery = Delivery([Template(raw.read_bytes())], folder, 2.5)
    closed = delivery.land("live", 0.0, lambda landed: landed < 3)
    delivery.stock(tmp_path / "archive", 2)
    assert list(closed) == ["live-0000.fits", "live-0001.fits", "live-0002.fits"]
    times = [fits.getheader(folder / name)["DATE-OBS"] for name in closed]
    assert times == ["2025-10-24T01:02:03.456", "2025-10-24T01:02:05.956", "2025-10-24T01:02:08.456"]
    np.testing.assert_array_equal(fits.getdata(folder / "live-0002.fits"), pixels)
    old = [fits.getheader(path)["DATE-OBS"] for path in sorted((tmp_path / "archive").iterdir())]
    assert old == ["2025-10-24T00:02:03.456", "2025-10-24T00:02:04.456"]
    assert Template(raw.read_bytes()).time + TimeDelta(1.0, format="sec") > Template(raw.read_bytes()).time


def test_results_stand_beside_those_of_other_cases_and_are_drawn(tmp_path: Path) -> None:
    output = tmp_path / "results" / "live.json"
    frames = [frame(float(number), 0.5 + 0.01 * number) for number in range(20)]
    figures = summary(frames) | {"side": 2048, "cadence": 1.0, "memory_growth": float("nan")}
    memory = {"service": ([0.0, 1.0], [2**30, 2**30])}
    for name, held in (("live_2k", {}), ("sustained_sqlite", memory)):
        program.write(name, Run(figures=figures, bars=[], panels={"live": frames}, memory=held), output)
    written = json.loads(output.read_text())
    assert set(written) == {"live_2k", "sustained_sqlite"}
    assert written["live_2k"]["memory_growth"] is None
    assert sorted(path.name for path in output.parent.iterdir()) == [
        "live.json", "live_live_2k.png", "live_sustained_sqlite.png",
    ]  # fmt: skip


def test_an_unknown_case_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refusal:
        program.main(["live_8k"])
    assert refusal.value.code == 2
    assert f"there are {', '.join(CASES)}" in capsys.readouterr().err
