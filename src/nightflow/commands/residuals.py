"""`residuals`: the stars of a frame's WCS and by how much they are off."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nightflow.commands.common import (
    ConfigOption,
    FormatOption,
    TableFormat,
    fail,
    note,
    only_exposure,
    open_store,
    print_rows,
    write_named,
)
from nightflow.pipeline.residuals import STAR_COLUMNS, exposure_residuals, star_rows
from nightflow.report.residual_plot import residual_png

__all__ = ["residuals"]


def residuals(
    frame: Annotated[str, typer.Argument(help="Path, file name, part of a path, or number of an exposure.")],
    config: ConfigOption = None,
    plot: Annotated[Path | None, typer.Option(help="Write a picture (PNG).")] = None,
    detector: Annotated[str | None, typer.Option(help="Only this chip.")] = None,
    output: FormatOption = TableFormat.TABLE,
) -> None:
    """List the stars that a frame's WCS was fitted to, and draw their residuals.

    dx and dy are detected minus predicted place, pixels. Exits with 2 where no WCS of the frame is verified.
    """
    with open_store(config) as (_, database):
        exposure = only_exposure(database, frame)
        found = exposure_residuals(database, exposure)
        if detector is not None:
            found = {name: one for name, one in found.items() if name == detector}
        rows = star_rows(found, database, exposure)
    if not found:
        chip = "" if detector is None else f" of chip {detector!r}"
        fail(f"{exposure.path}: no verified WCS{chip}; `nightflow explain` tells why", 2)
    if plot is not None and len(found) > 1:
        fail(f"{exposure.path}: has chips {', '.join(sorted(found))}; name one with --detector")
    print_rows(rows, STAR_COLUMNS, output)
    if plot is not None:
        (only,) = found.values()
        write_named(plot, lambda path: _write(path, residual_png(only)))
        note(f"{plot}: {len(rows)} stars")


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
