"""A night that is killed in the middle of its writes, again and again, against one that is left in peace."""

from __future__ import annotations

import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from nightflow.store.consistency import disagreements
from nightflow.store.database import Database
from tests.unit.lightcurves.sky_lists import Sky, observe
from tests.unit.store.builders import CLEAN_PROCESSES, count
from tests.unit.store.field_nights import append_frame, append_frames, exported, put_in_order, sources_of

SKY = Sky(n_stars=60, n_pairs=5, n_frames=12, side=1200.0, false_a_frame=5)
_LONGEST_WRITE = 0.04
"""Seconds within which a kill comes after a write was announced; a write takes about as long."""


def _append_all(url: str, told: Connection) -> None:
    """Append the whole night from the start, and announce each write."""
    seen = observe(SKY)
    with Database(url) as database:
        for frame in range(SKY.n_frames):
            told.send(frame)
            append_frame(database, SKY, frame, seen)
    told.send(None)


def _killed(url: str, rng: np.random.Generator) -> bool:
    """Start a process that appends the night, and kill it during a write; return False if it was too late."""
    ours, theirs = CLEAN_PROCESSES.Pipe()
    child = CLEAN_PROCESSES.Process(target=_append_all, args=(url, theirs))
    child.start()
    last_seen = int(rng.integers(0, SKY.n_frames))
    while (frame := ours.recv()) is not None and frame < last_seen:
        pass
    if frame is not None:
        time.sleep(float(rng.uniform(0, _LONGEST_WRITE)))
        child.kill()
    child.join(60)
    return child.exitcode != 0


def _differences(database: Database, kills: int, folder: Path) -> list[str]:
    """Kill a night so often, finish it, and return in what it differs from one that is left in peace."""
    rng = np.random.default_rng(kills)
    done = 0
    while done < kills:
        done += _killed(database.url, rng)
    append_frames(database, SKY, range(SKY.n_frames))
    with Database(f"sqlite:///{folder}/peace.sqlite") as peace:
        peace.upgrade()
        append_frames(peace, SKY, range(SKY.n_frames))
        same = {"sources of before": sources_of(database) == sources_of(peace)}
        same["sources"] = put_in_order(database).n_sources == put_in_order(peace).n_sources
        same["light curves"] = exported(database) == exported(peace)
        same["measurements"] = count(database, "measurement") == count(peace, "measurement")
    same["consistency"] = not any(one.number for one in disagreements(database))
    return [name for name, is_same in same.items() if not is_same]


def test_a_few_kills_lose_and_double_nothing(database: Database, tmp_path: Path) -> None:
    assert _differences(database, 3, tmp_path) == []


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_fifty_kills_lose_and_double_nothing(database: Database, tmp_path: Path) -> None:
    assert _differences(database, 50, tmp_path) == []
