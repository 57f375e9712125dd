"""`python -m benchmarks.dask_overhead`: what a Dask cluster takes of a backfill beside the reduction."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from datetime import datetime
from pathlib import Path

from rich.console import Console

from benchmarks.pools import Night, doubled, plan_of, reduce_night
from benchmarks.report import hardware
from benchmarks.stores import Postgres
from nightflow.simulate import write_night

__all__ = ["seconds_beside"]

RESULTS = Path(__file__).parent / "results" / "dask.json"
MOST = 0.05
"""Of the time of the reduction, with as many exposures as a backfill run has."""
_CALIBRATIONS = "batch 1 of 1"
_OF_A_SHARE = "of this share"


def main() -> int:
    """Simulate, reduce on one worker of a cluster, print and write; return 1 where the bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dask_overhead", description=__doc__)
    parser.add_argument("--lights", type=int, default=200)
    parser.add_argument("--pixels", type=int, default=2048, help="of a side")
    parser.add_argument("--night", type=Path, help="folder of a night that is simulated already")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nf-dask-") as folder, Postgres.started() as postgres:
        night = options.night or Path(folder) / "night"
        if options.night is None:
            write_night(plan_of(options.lights, options.pixels), night)
        reduced = reduce_night(Path(folder) / "cluster", night, postgres.new_database(), 1, n_on_cluster=1)
    beside, reducing = seconds_beside(reduced)
    result = {
        "machine": hardware(),
        "shares": [len(share) for share in reduced.shares],
        "doubled": doubled(reduced),
        "message": reduced.message,
        "reducing_s": reducing,
        "beside_s": beside,
        "overhead": beside / reducing,
    }
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    Console().print(f"{reduced.message}: {beside:.1f} s beside {reducing:.1f} s, {beside / reducing:.1%}")
    return int(beside > MOST * reducing or bool(result["doubled"]))


def seconds_beside(night: Night) -> tuple[float, float]:
    """Return the seconds that a cluster of one worker took beside those of its batches, and these.

    It is all that passes from the last calibration to the end of the backfill: connecting, sending the
    share, its start, what lies between batches, and the end.
    """
    batches = [one for one in night.runs if one["name"].endswith(_OF_A_SHARE)]
    reducing = sum(_seconds(one["start_time"], one["end_time"]) for one in batches)
    [calibrations] = [one for one in night.runs if one["name"] == _CALIBRATIONS]
    [backfill] = [one for one in night.runs if one["name"].startswith("backfill ")]
    return _seconds(calibrations["end_time"], backfill["end_time"]) - reducing, reducing


def _seconds(since: str, until: str) -> float:
    return (datetime.fromisoformat(until) - datetime.fromisoformat(since)).total_seconds()


if __name__ == "__main__":
    sys.exit(main())
