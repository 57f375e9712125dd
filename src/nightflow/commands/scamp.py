"""`scamp`: chips of a mosaic, or frames of a field, solved together."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from nightflow.astrometry.scamp.frames import ChipAnswer
from nightflow.astrometry.scamp.layout import write_layout
from nightflow.commands.common import (
    ConfigOption,
    FormatOption,
    TableFormat,
    batch_reducer,
    check_named,
    console,
    fail,
    finish_commands,
    note,
    only_exposure,
    open_store,
    print_rows,
    write_named,
)
from nightflow.commands.signals import exit_on_signals
from nightflow.config import Settings
from nightflow.pipeline.joint_solution import Joint, learned_layout, solve_jointly
from nightflow.pipeline.joint_update import Update, compare_with_store, update_store
from nightflow.pipeline.reducer import Reducer
from nightflow.store.database import Database
from nightflow.store.frames import frames_of
from nightflow.store.models import Exposure
from nightflow.store.overview import nights

__all__ = ["scamp"]

_COLUMNS = (
    "path", "detector", "wcs_quality", "in_store", "n_scamp", "wcs_n_matched", "wcs_rms_arcsec",
    "wcs_heldout_rms_arcsec", "ra_center", "dec_center", "scale", "rotation", "reason",
)  # fmt: skip


class Detections(StrEnum):
    """Whose detections SCAMP gets."""

    OWN = "own"
    SOURCE_EXTRACTOR = "source-extractor"


@exit_on_signals()
def scamp(
    exposures: Annotated[
        list[str],
        typer.Argument(
            metavar="FRAME...",
            help="Path, file name, part of a path, or number of an exposure; several of one field are solved "
            "together.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for the files; else PRODUCTS/NIGHT/scamp-NUMBER of the first."),
    ] = None,
    detections: Annotated[Detections, typer.Option(help="Whose detections SCAMP gets.")] = Detections.OWN,
    update: Annotated[
        bool,
        typer.Option(
            "--update",
            help="Reduce exposures again where this WCS is better than the one they have: rows, light "
            "curves, reduced frames.",
        ),
    ] = False,
    learn: Annotated[
        Path | None,
        typer.Option(help="Write how the chips lie to each other: a layout for the camera's profile."),
    ] = None,
    config: ConfigOption = None,
    output: FormatOption = TableFormat.TABLE,
) -> None:
    """Solve all chips of exposures together with SCAMP; each chip's WCS is verified on stars left out of it.

    Exits with 1 where a chip is refused. Without --update the store stays as it is.
    """
    if learn is not None:
        check_named(learn)
    with open_store(config) as (settings, database):
        chosen = [only_exposure(database, name) for name in dict.fromkeys(exposures)]
        chosen = list({one.id: one for one in chosen}.values())
        reducer = batch_reducer(settings)
        try:
            context = reducer.context
            with console.status("measuring"):
                joint = solve_jointly(
                    context,
                    chosen,
                    out or _folder(settings, chosen[0], reducer.database),
                    detector="own" if detections is Detections.OWN else "source-extractor",
                )
            if learn is not None:
                layout = learned_layout(joint)
                write_named(learn, lambda path: write_layout(path, layout))
            updated = _updated(reducer, joint) if update else _compared(reducer, joint)
            changed = _changed(database, joint, updated)
        except OSError as error:
            fail(f"{error.filename or 'a file'}: cannot be written: {error.strerror or error}")
        finally:
            reducer.database.close()
    rows = [_row(path, answer) for path, answer in zip(joint.paths, joint.together.answers, strict=True)]
    for row, standing in zip(rows, updated.standings, strict=True):
        row |= {"in_store": standing.backend or "none", "reason": standing.reason}
    print_rows(rows, _COLUMNS, output)
    _tell(joint, updated, changed)


def _updated(reducer: Reducer, joint: Joint) -> Update:
    with console.status("reducing again"):
        return update_store(reducer, joint)


def _compared(reducer: Reducer, joint: Joint) -> Update:
    return Update(standings=compare_with_store(reducer, joint), products=())


def _changed(database: Database, joint: Joint, updated: Update) -> list[str]:
    """Return the nights of which a chip has a new WCS in the store."""
    frames = zip(joint.frames, updated.standings, strict=True)
    taken = [frame for frame, standing in frames if standing.taken]
    return nights(database, [exposure for exposure, _ in taken])


def _folder(settings: Settings, exposure: Exposure, database: Database) -> Path:
    frames = frames_of(database, exposure.id or 0)
    night = next((frame.night for frame in frames if frame.night), "undated")
    return settings.resolve(settings.paths.products) / night / f"scamp-{exposure.id}"


def _row(path: Path, answer: ChipAnswer) -> dict[str, Any]:
    found = answer.solution
    row: dict[str, Any] = {
        "path": path.name,
        "detector": answer.chip,
        "n_scamp": answer.n_scamp,
        "wcs_quality": "none",
        "reason": answer.reason,
    }
    if found is None:
        return row
    return row | {
        "wcs_quality": str(found.quality),
        "wcs_n_matched": found.n_matched,
        "wcs_rms_arcsec": found.rms_arcsec,
        "wcs_heldout_rms_arcsec": found.heldout_rms_arcsec,
        "ra_center": found.ra_center,
        "dec_center": found.dec_center,
        "scale": found.scale,
        "rotation": found.rotation,
    }


def _tell(joint: Joint, updated: Update, changed: Sequence[str]) -> None:
    for line in joint.left_out:
        note(f"not measured: {line}")
    refused = [answer for answer in joint.together.answers if answer.solution is None]
    solved = len(joint.together.answers) - len(refused)
    note(f"{_chips(solved)} verified, {len(refused)} refused; distortion of degree {joint.together.degree}")
    if joint.together.stopped:
        note(joint.together.stopped)
    note(f"files in {joint.files[0].parent}")
    taken = sum(standing.taken for standing in updated.standings)
    better = sum(standing.better for standing in updated.standings)
    if taken:
        note(f"new WCS: {_chips(taken)} in the store, {len(updated.products)} in reduced frames")
    elif better:
        note(f"{_chips(better)} would gain: `--update` takes that into the store")
    else:
        note("no chip would gain: the store stays as it is")
    if changed:
        note(f"next: {finish_commands(changed)}, which puts the night's sources where the new WCS says")
    if refused or joint.left_out:
        raise typer.Exit(1)


def _chips(number: int) -> str:
    return "1 chip" if number == 1 else f"{number} chips"
