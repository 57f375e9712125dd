"""`simulate`, `demo`: a night that never was."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from nightflow.commands.common import console, fail, note
from nightflow.commands.signals import exit_on_signals
from nightflow.errors import NightflowError
from nightflow.simulate import (
    NightPlan,
    four_amplifiers,
    four_chips,
    with_asteroids,
    write_mosaic,
    write_night,
)

__all__ = ["demo", "simulate"]


class CameraKind(StrEnum):
    """Cameras that can be simulated."""

    CHIP = "chip"
    AMPLIFIERS = "amplifiers"
    MOSAIC = "mosaic"


def simulate(
    out: Annotated[Path, typer.Argument(help="Folder for the frames, their catalogue and the truth.")],
    lights: Annotated[int | None, typer.Option(help="Number of light frames.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same night.")] = 1,
    small: Annotated[bool, typer.Option(help="A few frames of 768 x 768 pixels.")] = False,
    asteroids: Annotated[int, typer.Option(min=0, help="Bodies that move through the field.")] = 0,
    variables: Annotated[int, typer.Option(min=0, help="Stars that pulsate.")] = 0,
    camera: Annotated[
        CameraKind, typer.Option(help="One chip, one of four amplifiers in an HDU each, or four chips.")
    ] = CameraKind.CHIP,
) -> None:
    """Write a night of raw frames with known truth: OUT/raw, OUT/catalog.csv, OUT/truth*.

    Of a mosaic the truth is in OUT/CCD1 to OUT/CCD4.
    """
    plan = replace(NightPlan.small() if small else NightPlan(), seed=seed)
    if lights is not None:
        plan = replace(plan, n_lights=lights)
    plan = replace(plan, field=replace(plan.field, n_variables=variables))
    try:
        count = _write(with_asteroids(plan, asteroids), camera, out)
    except (NightflowError, OSError) as error:
        fail(str(error))
    console.print(f"{count} frames in {out / 'raw'}", soft_wrap=True)


def _write(plan: NightPlan, camera: CameraKind, out: Path) -> int:
    """Write the night; return the number of files."""
    if camera is CameraKind.MOSAIC:
        truths = write_mosaic(replace(plan, mosaic=four_chips(plan.camera)), out)
        return len(next(iter(truths.values())).frames)
    if camera is CameraKind.AMPLIFIERS:
        plan = replace(plan, camera=four_amplifiers(plan.camera))
    return len(write_night(plan, out).frames)


@exit_on_signals()
def demo(
    folder: Annotated[Path, typer.Option(help="Where everything goes; emptied first.")] = Path("demo-night"),
    cadence: Annotated[float, typer.Option(help="Seconds between two frames that land.")] = 0.5,
    keep: Annotated[bool, typer.Option(help="Leave server and watcher running.")] = False,
) -> None:
    """Simulate a night, let it land under `watch`, plot the transit; exits with 1 if anything is wrong."""
    from nightflow.demo.night import run_demo

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
