"""`status`, `frames`, `retry`: what became of the files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from nightflow.commands.common import (
    LISTED,
    ConfigOption,
    FormatOption,
    TableFormat,
    console,
    fail,
    note,
    only_exposure,
    open_store,
    print_rows,
    say,
)
from nightflow.config import load_settings, settings_file
from nightflow.errors import NightflowError, RetryLater
from nightflow.service.standing import Standing, look_around
from nightflow.service.watching import Watching, watching_by_its_sign
from nightflow.store.database import Database
from nightflow.store.ledger import requeue
from nightflow.store.models import Exposure, Priority, State
from nightflow.store.overview import (
    FRAME_COLUMNS,
    frame_rows,
    known_exposure,
)

__all__ = ["frames", "retry", "status"]


_SHORT_COLUMNS = (
    "exposure",
    "file",
    "detector",
    "kind",
    "object",
    "filter",
    "night",
    "state",
    "grade",
    "fwhm_px",
    "wcs_quality",
    "zp",
    "zp_origin",
    "reason",
)
_NO_CHIP = (None, "1")
"""Detectors that need no telling: of a file without frames, and of a camera whose header names none."""
_REASON = 120
"""Characters of a reason in the table."""
_PATIENCE = 5.0
"""Seconds for the store's answer; who looks after the health of a container does not wait for long."""


def status(
    config: ConfigOption = None,
    output: FormatOption = TableFormat.TABLE,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Exit with 1 where no `nightflow watch` is at work, it hangs, or takes no frames."
        ),
    ] = False,
) -> None:
    """Show whether the service is at work, what comes and waits, the room on the disk, and the last error."""
    what = "settings"
    try:
        settings = load_settings(config)
        what = "store"
        with Database(settings.store_url, busy_seconds=_PATIENCE) as database:
            database.check_tables()
            standing = look_around(settings, database)
    except NightflowError as error:
        watching = watching_by_its_sign(settings_file(config).resolve(), datetime.now(UTC))
        if watching is None or (output is TableFormat.CSV and not check):
            fail(str(error))
        _show_by_its_sign(watching, what, error, output)
    else:
        watching = standing.watching
        _show(standing, output)
    if check and not watching.is_alive:
        raise typer.Exit(1)


def _show_by_its_sign(watching: Watching, what: str, error: NightflowError, output: TableFormat) -> None:
    """Show what the watcher says of itself where the settings are wrong, or the store cannot be read.

    They are no reason to start it anew: it goes on with those that it has, and could not begin with these.
    """
    if output is TableFormat.JSON:
        errors = {"settings_error": None, "store_error": None, f"{what}_error": str(error)}
        console.print_json(data={"watch": watching.as_json(), **errors})
        return
    tell = note if output is TableFormat.CSV else say
    for line in (*watching.lines(), _wrong(watching, what, error), *watching.unreadable_lines()):
        tell(line)


def _wrong(watching: Watching, what: str, error: NightflowError) -> str:
    label = f"{what}:".ljust(13)
    if isinstance(error, RetryLater):
        return f"{label}{error}; a watcher on it asks again by itself"
    goes_on = "; the watcher goes on with what it has" if watching.is_alive else ""
    before = "; mend that before it is started again" if what == "settings" else ""
    return f"{label}WRONG: {error}{goes_on}{before}"


def _show(standing: Standing, output: TableFormat) -> None:
    if output is TableFormat.JSON:
        console.print_json(data=standing.as_json())
        return
    rows = [{"state": state, "exposures": number} for state, number in standing.states.items()]
    print_rows(rows, ("state", "exposures"), output)
    if output is TableFormat.TABLE:
        for line in standing.lines():
            say(line)


def frames(
    config: ConfigOption = None,
    state: Annotated[State | None, typer.Option(help="Only frames in this state.")] = None,
    output: FormatOption = TableFormat.TABLE,
) -> None:
    """List the frames: one row each, with every measure in CSV and JSON."""
    with open_store(config) as (_, database):
        rows = frame_rows(database, state)
    if output is not TableFormat.TABLE:
        print_rows(rows, (*FRAME_COLUMNS, "exposure_id"), output)
        return
    named = any(row["detector"] not in _NO_CHIP for row in rows)
    columns = [name for name in _SHORT_COLUMNS if named or name != "detector"]
    shared = _shared(rows)
    print_rows([_shortened(row, shared) for row in rows], columns, output)
    for part, number in shared.items():
        note(f"{number} of the {len(rows)} frames: {part}")


def _parts(row: dict[str, Any]) -> list[str]:
    """Return what the reason of a row is made of, without the path of its file."""
    return [part for part in (row["reason"] or "").replace(f"{row['path']}: ", "").split("; ") if part]


def _shared(rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Return what more than half of all frames that have a reason say, and how many do: told once."""
    said = [set(_parts(row)) for row in rows if row["reason"]]
    times = Counter(part for parts in said for part in parts)
    return {part: number for part, number in times.items() if number > max(2, len(said) / 2)}


def _shortened(row: dict[str, Any], shared: Collection[str]) -> dict[str, Any]:
    own = "; ".join(part for part in _parts(row) if part not in shared)
    short = own if len(own) <= _REASON else own[: _REASON - 3] + "..."
    shown = {"exposure": row["exposure_id"], "file": Path(str(row["path"])).name, "reason": short}
    return row | shown


def retry(
    frame: Annotated[
        str | None, typer.Argument(help="Path, part of a name that no other has, or number.")
    ] = None,
    config: ConfigOption = None,
    state: Annotated[State | None, typer.Option(help="All exposures in this state.")] = None,
) -> None:
    """Put exposures back into the queue; `watch` takes them up, or `run` on their folder."""
    if (frame is None) == (state is None):
        fail("say which: a FRAME, or --state failed|held|rejected|done")
    with open_store(config) as (_, database):
        exposure = None if frame is None else only_exposure(database, frame)
        queued = requeue(
            database,
            None if exposure is None else [exposure.id or 0],
            states=None if state is None else [state],
            priority=Priority.REDO,
            now=datetime.now(UTC),
        )
        named = [_named(known_exposure(database, one)) for one in queued[:LISTED]]
        if exposure is not None and not queued:
            note(f"{_named(exposure)} is {exposure.state}: it is left as it is")
    say(f"{len(queued)} put back into the queue{':' if queued else ''}")
    for name in named:
        say(f"  {name}")
    if len(queued) > LISTED:
        say(f"  and {len(queued) - LISTED} more")


def _named(exposure: Exposure) -> str:
    return f"{exposure.id}  {Path(exposure.path).name}"
