"""A night with one fault in it, and what is kept of it: benchmarks/results/faults.json."""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.site import Rows, Site, check_night

__all__ = ["PATIENCE", "RESULTS", "Soak", "begin", "counted", "deliver_slowly"]

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "faults.json"
SHARE = float(os.environ.get("NIGHTFLOW_SOAK_SHARE", "1"))
"""Of the full counts, for a machine that has no hours."""


PATIENCE = 400.0
"""Seconds for what is waited for; a soak shares its machine."""


def counted(full: int) -> int:
    """Return how often something is done in this run."""
    return max(1, round(full * SHARE))


@dataclass
class Outcome:
    """What is kept of one case.

    Attributes
    ----------
    count : int
        How often the fault came.
    seconds : float
        Wall time.
    outcome : str
        "passed", "failed" or "skipped".
    lost, doubled : int or None
        Frames without a terminal state and rows that are wanting; rows that are too many. None where the
        night came to no end.
    worst_mmag : float or None
        Largest difference from the undisturbed night.
    """

    count: int = 1
    seconds: float = 0.0
    outcome: str = "failed"
    lost: int | None = None
    doubled: int | None = None
    worst_mmag: float | None = None


@dataclass
class Soak:
    """Makes sites, and compares their nights with the undisturbed one."""

    root: Path
    night: Path
    undisturbed: Rows
    outcome: Outcome = field(default_factory=Outcome)
    sites: list[Site] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def site(self, *arguments: Any, **options: Any) -> Site:
        self.sites.append(Site(self.root, self.night, *arguments, **options))
        return self.sites[-1]

    def check_night(self, site: Site, count: int = 1, but: tuple[str, ...] = ()) -> None:
        """Let the night come to its end, and compare it; the last thing that a test does."""
        self.outcome.count = count
        frames = site.frames("bias", "dark", "flat", "light")
        site.wait_until_settled([path.name for path in frames], seconds=PATIENCE)
        site.stop()
        curves = site.finish()
        self.outcome.lost, self.outcome.doubled, self.outcome.worst_mmag = figures(self.undisturbed, curves)
        check_night(site, self.undisturbed, curves, but)
        self.outcome.outcome = "passed"

    def close(self) -> None:
        for site in self.sites:
            site.close()

    def keep(self, name: str) -> None:
        """Write the outcome down, beside those of other cases."""
        self.outcome.seconds = round(time.monotonic() - self.began, 1)
        with (RESULTS.parent.parent / "__init__.py").open() as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)  # other soaks may end at the same time
            kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
            kept[name] = asdict(self.outcome)
            whole = RESULTS.with_suffix(".tmp")
            whole.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n")
            whole.replace(RESULTS)


def figures(expected: Rows, found: Rows) -> tuple[int, int, float]:
    """Return rows that are wanting, rows that are too many, and the largest difference [mmag]."""
    both = [(expected[key][1], found[key][1]) for key in expected.keys() & found.keys()]
    apart = [abs(one - other) for one, other in both if one is not None and other is not None]
    return (
        len(expected.keys() - found.keys()),
        len(found.keys() - expected.keys()),
        round(1000 * max(apart, default=0.0), 4),
    )


def deliver_slowly(site: Site, seconds: float) -> threading.Thread:
    """Let the night's frames come one after the other."""

    def deliver() -> None:
        for path in site.frames("bias", "dark", "flat", "light"):
            site.deliver(path)
            time.sleep(seconds)

    thread = threading.Thread(target=deliver)
    thread.start()
    return thread


def begin(site: Site) -> None:
    """Wait until the night's first light is in the light curves."""
    site.wait_for(site.frames("light")[0].name, "done", seconds=PATIENCE)
