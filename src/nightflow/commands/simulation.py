"""`simulate`, `demo`: a night that never was."""

from __future__ import annotations

import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from nightflow.commands.common import console, fail, note
from nightflow.errors import NightflowError
from nightflow.simulate import NightPlan, write_night

__all__ = ["demo", "simulate"]


def simulate(
    out: Annotated[Path, typer.Argument(help="Folder for the frames, their catalogue and the truth.")],
    lights: Annotated[int | None, typer.Option(help="Number of light frames.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same night.")] = 1,
    small: Annotated[bool, typer.Option(help="A few frames of 768 x 768 pixels.")] = False,
) -> None:
    """Write a night of raw frames with known truth: OUT/raw, OUT/catalog.csv, OUT/truth*."""
    plan = replace(NightPlan.small() if small else NightPlan(), seed=seed)
    if lights is not None:
        plan = replace(plan, n_lights=lights)
    try:
        truth = write_night(plan, out)
    except (NightflowError, OSError) as error:
        fail(str(error))
    console.print(f"{len(truth.frames)} frames in {out / 'raw'}", soft_wrap=True)


def demo(
    folder: Annotated[Path, typer.Option(help="Where everything goes; emptied first.")] = Path("demo-night"),
    cadence: Annotated[float, typer.Option(help="Seconds between two frames that land.")] = 0.5,
    keep: Annotated[bool, typer.Option(help="Leave server and watcher running.")] = False,
) -> None:
    """Simulate a night, let it land under `watch`, plot the transit; exits with 1 if anything is wrong."""
    from nightflow.demo.night import run_demo

    # A SIGTERM must end server and watcher, too: an exit runs the blocks that stop them.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        report = run_demo(
            folder.resolve(), cadence=cadence, keep=keep, say=lambda line: console.print(line, soft_wrap=True)
        )
    except NightflowError as error:
        fail(str(error))
    for fault in report.faults:
        note(f"fault: {fault}")
    if report.faults:
        raise typer.Exit(1)
