"""`python -m benchmarks.store_growth`: what questions cost when a store grows from 2 to 20 million rows."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.big_store import Field, fill_fields
from benchmarks.report import hardware
from benchmarks.stores import NOW, Postgres, add_frame, open_store, record
from nightflow.store.database import Database
from nightflow.store.queries import find_sources, light_curve, measurements_of
from nightflow.store.writer import append

RESULTS = Path(__file__).parent / "results" / "store_growth.json"
_STARS, _FRAMES = 5_000, 200
_SMALL, _LARGE = 2, 20
"""Fields: 2 and 20 million measurements of 10,000 and 100,000 sources with 200 each, for answers as long."""
_QUESTIONS = 300
_CURVES = 40
_APPENDS = 15
_APPENDED_STARS = 6_000
_CONE = 10.0
"""Arcsec."""
_MOST_MS, _MOST_APPEND_MS, _MOST_GROWTH = 10.0, 120.0, 1.5


def main() -> int:
    """Fill the stores, ask, print and write; return 1 where a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store_growth", description=__doc__)
    parser.add_argument("--fields", type=int, nargs=2, default=(_SMALL, _LARGE), metavar=("SMALL", "LARGE"))
    parser.add_argument("--frames", type=int, default=_FRAMES, help="of each field")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    console = Console()
    results: dict[str, Any] = {"machine": hardware()}
    for name, stores in (("sqlite", _sqlite), ("postgres", _postgres)):
        results[name] = {}
        with stores() as make:
            for n_fields in options.fields:
                rows = options.frames * n_fields * _STARS
                console.print(f"{name}: {rows} measurements ...")
                results[name][str(rows)] = _measured(make(n_fields), n_fields, options.frames)
    console.print(_table(results))
    options.output.write_text(json.dumps(results, indent=1) + "\n")
    missed = _missed(results)
    for one in missed:
        console.print(f"missed: {one}")
    return int(bool(missed))


@contextmanager
def _sqlite() -> Iterator[Callable[[int], str]]:
    with tempfile.TemporaryDirectory(prefix="nf-growth-") as folder:
        yield lambda n_fields: f"sqlite:///{folder}/{n_fields}.sqlite"


@contextmanager
def _postgres() -> Iterator[Callable[[int], str]]:
    with Postgres.started() as server:
        yield lambda n_fields: server.new_database()


def _measured(url: str, n_fields: int, frames: int) -> dict[str, float]:
    fields = [Field(number=number, n_frames=frames, n_stars=_STARS) for number in range(n_fields)]
    with open_store(url) as database:
        begun = time.perf_counter()
        fill_fields(database, fields)
        filled = time.perf_counter() - begun
        rng = np.random.default_rng(1)
        chosen = rng.choice(n_fields * _STARS, _QUESTIONS, replace=False)
        places = [fields[int(one) // _STARS].stars() for one in chosen]
        sources = [int(fields[int(one) // _STARS].sources()[int(one) % _STARS]) for one in chosen]
        stars = [int(one) % _STARS for one in chosen]
        sky = [(ra[star], dec[star]) for (ra, dec), star in zip(places, stars, strict=True)]
        reads = [partial(_read, database, one, frames) for one in sources]
        cones = [partial(_cone, database, *one) for one in sky]
        curves = [partial(light_curve, database, one) for one in sources[:_CURVES]]
        return {
            "fill_seconds": filled,
            **_timed("light_curve", reads),
            **_timed("cone", cones),
            **_timed("light_curve_with_ensemble", curves),
            **_timed("append", _appends(database, n_fields)),
        }


def _read(database: Database, source: int, frames: int) -> None:
    with database.session() as session:
        rows = measurements_of(session, source)
    if len(rows) != frames:
        raise AssertionError(f"source {source}: {len(rows)} measurements instead of {frames}")


def _cone(database: Database, ra: float, dec: float) -> None:
    if not find_sources(database, ra, dec, _CONE):
        raise AssertionError(f"RA {ra} Dec {dec}: no source")


def _appends(database: Database, number: int) -> list[Callable[[], object]]:
    """Return appends of frames of a field of its own, whose sources the first of them makes."""
    field = Field(number=number, n_frames=1000, n_stars=_APPENDED_STARS)
    ids = [add_frame(database, number) for number in range(_APPENDS + 1)]
    calls = [
        partial(append, database, one, record(number), field.columns(number), now=NOW)
        for number, one in enumerate(ids)
    ]
    calls[0]()
    return calls[1:]


def _timed(name: str, calls: list[Callable[[], object]]) -> dict[str, float]:
    taken = []
    for call in calls:
        begun = time.perf_counter()
        call()
        taken.append(1000.0 * (time.perf_counter() - begun))
    return {f"{name}_ms": float(np.median(taken)), f"{name}_p95_ms": float(np.percentile(taken, 95))}


def _table(results: dict[str, Any]) -> Table:
    table = Table("store", "measurements", "light curve", "p95", '10" cone', "p95", "with ensemble", "append")
    for name in ("sqlite", "postgres"):
        for rows, values in results[name].items():
            keys = (
                "light_curve",
                "light_curve_p95",
                "cone",
                "cone_p95",
                "light_curve_with_ensemble",
                "append",
            )
            table.add_row(name, rows, *(f"{values[f'{key}_ms']:.1f} ms" for key in keys))
    return table


def _missed(results: dict[str, Any]) -> list[str]:
    missed = []
    for name in ("sqlite", "postgres"):
        small, large = results[name].values()
        for key in ("light_curve", "cone"):
            if large[f"{key}_ms"] > _MOST_MS:
                missed.append(f"{name}: {key} takes {large[f'{key}_ms']:.1f} ms, more than {_MOST_MS}")
            growth = large[f"{key}_ms"] / small[f"{key}_ms"]
            if growth > _MOST_GROWTH:
                missed.append(f"{name}: {key} grows by {growth:.2f}, more than {_MOST_GROWTH}")
        if small["append_ms"] > _MOST_APPEND_MS:
            missed.append(f"{name}: an append takes {small['append_ms']:.0f} ms, more than {_MOST_APPEND_MS}")
    return missed


if __name__ == "__main__":
    sys.exit(main())
