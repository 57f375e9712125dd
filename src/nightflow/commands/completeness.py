"""`completeness`: how faint a star may be to be found on a frame."""

from __future__ import annotations

import math
from typing import Annotated, Any

import typer

from nightflow.commands.common import (
    ConfigOption,
    FormatOption,
    TableFormat,
    batch_reducer,
    note,
    only_exposure,
    open_store,
    print_rows,
)
from nightflow.pipeline.completeness import frame_completeness
from nightflow.sources.completeness import Completeness

__all__ = ["completeness"]

_COLUMNS = ("detector", "mag", "injected", "found", "completeness", "low", "high")


def completeness(
    frame: Annotated[str, typer.Argument(help="Path, file name, part of a path, or number of an exposure.")],
    stars: Annotated[int, typer.Option(min=1, help="Stars put into each bin of 0.25 mag.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Of their places and noise.")] = 1,
    config: ConfigOption = None,
    output: FormatOption = TableFormat.TABLE,
) -> None:
    """Put stars into a frame and tell which part of them is detected, by magnitude; nothing is stored."""
    with open_store(config) as (settings, database):
        exposure = only_exposure(database, frame)
        reducer = batch_reducer(settings)
        try:
            found = frame_completeness(reducer.context, exposure, per_bin=stars, seed=seed)
        finally:
            reducer.database.close()
    print_rows([row for detector, one in found.items() for row in _rows(detector, one)], _COLUMNS, output)
    for detector, one in found.items():
        levels = ", ".join(
            f"{part:.0%} at {one.magnitude_at(part):.2f} mag"
            for part in (0.9, 0.5)
            if math.isfinite(one.magnitude_at(part))
        )
        note(f"{detector or 'frame'}: {levels or 'neither 90 % nor 50 % are reached'}")


def _rows(detector: str, found: Completeness) -> list[dict[str, Any]]:
    columns = (found.mag, found.injected, found.found, found.fraction, found.low, found.high)
    return [
        {"detector": detector, "mag": round(mag, 3), "injected": injected, "found": seen}
        | {"completeness": round(part, 4), "low": round(low, 4), "high": round(high, 4)}
        for mag, injected, seen, part, low, high in zip(*(one.tolist() for one in columns), strict=True)
    ]
