"""`masters`: list, build, approve and reject master calibrations."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from nightflow.commands.common import (
    ConfigOption,
    FormatOption,
    TableFormat,
    batch_reducer,
    console,
    fail,
    note,
    open_store,
    print_rows,
    settings_or_exit,
)
from nightflow.config import Settings
from nightflow.errors import NightflowError
from nightflow.instruments.header import FrameKind
from nightflow.nights import parse_night
from nightflow.pipeline.masters import build_all
from nightflow.pipeline.reducer import Reducer
from nightflow.pipeline.touched import touched_by, users_of
from nightflow.pipeline.work import Context
from nightflow.store.database import Database
from nightflow.store.ledger import requeue
from nightflow.store.masters import find_masters, forget_refusal, set_master_state
from nightflow.store.masters import masters as stored
from nightflow.store.models import Master, Priority, State

__all__ = ["masters"]

masters = typer.Typer(help="Master calibrations.", no_args_is_help=True)

WhichArgument = Annotated[str, typer.Argument(help="Number, or the beginning of the fingerprint.")]

_MEASURED = (
    "measured_gain", "measured_gain_err", "measured_read_noise", "measured_read_noise_err",
    "measured_read_noise_adu",
)  # fmt: skip
"""What a master's statistics may hold beside level and noise."""
_COLUMNS = (
    "id", "kind", "instrument", "detector", "filter", "exptime", "ccd_temp", "rotator", "binning", "mjd_mid",
    "valid_from", "valid_until", "n_inputs", "level", "noise", *_MEASURED, "state", "fingerprint", "reason",
)  # fmt: skip
_SHORT = (
    "id", "kind", "instrument", "detector", "filter", "exptime", "ccd_temp", "n_inputs", "level", "noise",
    "measured_gain", "state", "fingerprint", "reason",
)  # fmt: skip
_TAKEN_UP = "`nightflow watch` takes them up, `nightflow run FOLDER` or `nightflow finish NIGHT`"
_BUILT = ("kind", "instrument", "filter", "exptime", "n_inputs", "state", "fingerprint", "reason")


@masters.command("list")
def masters_list(
    kind: Annotated[FrameKind | None, typer.Option(help="bias, dark, flat, illumination or fringe.")] = None,
    instrument: Annotated[str | None, typer.Option(help="Only this camera.")] = None,
    config: ConfigOption = None,
    output: FormatOption = TableFormat.TABLE,
) -> None:
    """List the masters that there are."""
    with open_store(config) as (_, database):
        rows = stored(database, kind=str(kind) if kind is not None else None, instrument=instrument)
    table = [_listed(row) for row in sorted(rows, key=_place)]
    if output is TableFormat.TABLE:
        table = [{**row, "fingerprint": row["fingerprint"][:12]} for row in table]
    print_rows(table, _SHORT if output is TableFormat.TABLE else _COLUMNS, output)


def _place(row: Master) -> tuple[object, ...]:
    """Return what a list is ordered by: one that people find their master in."""
    return row.instrument, row.kind, row.filter, row.exptime, row.detector, row.mjd_mid, row.id


@masters.command("build")
def masters_build(
    instrument: Annotated[str | None, typer.Option(help="Only this camera.")] = None,
    night: Annotated[
        str | None, typer.Option(help="Only of calibrations of this night, as YYYY-MM-DD.")
    ] = None,
    config: ConfigOption = None,
    output: FormatOption = TableFormat.TABLE,
) -> None:
    """Build every master that the calibration frames of the ledger make; those that exist stay."""
    settings = settings_or_exit(config)
    try:
        if night is not None:
            parse_night(night)
        reducer = batch_reducer(settings)
        if instrument is not None and instrument not in reducer.context.profiles:
            fail(f"no camera is called {instrument!r}; known: {', '.join(reducer.context.profiles)}")
        rows = build_all(reducer, instrument=instrument, night=night)
    except NightflowError as error:
        fail(str(error))
    print_rows(rows, _BUILT, output)
    if not rows:
        note("no calibration frames in the ledger; `nightflow run` on their folder enters them")


@masters.command("approve")
def masters_approve(which: WhichArgument, config: ConfigOption = None) -> None:
    """Let a master be used without reserve.

    Frames that wait for a calibration are queued, and those of nights that are over which it fits best.
    """
    with open_store(config) as (settings, database):
        row = _set_state(database, which, "approved", "approved by hand")
        now = datetime.now(UTC)
        woken = _wake(database, row, now)
        touched = _queue(database, touched_by(_live_context(settings), row), now)
    console.print(f"{_name(row)} is approved", markup=False)
    _tell_woken(woken)
    if touched:
        note(f"{touched} exposures that it fits best are queued: {_TAKEN_UP}")


@masters.command("reject")
def masters_reject(
    which: WhichArgument,
    reason: Annotated[str, typer.Option(help="Why; shown to whoever misses it.")],
    config: ConfigOption = None,
) -> None:
    """Let a master never be used again; frames that used it, or one made with it, are queued."""
    if not reason.strip():
        fail("say why: --reason 'dome lamp failed'")
    with open_store(config) as (_, database):
        row = _set_state(database, which, "rejected", reason.strip())
        touched = _queue(database, users_of(database, row), datetime.now(UTC))
    console.print(f"{_name(row)} is rejected: {row.reason}", markup=False)
    if touched:
        note(f"{touched} exposures that used it are queued: {_TAKEN_UP}")


@masters.command("retry")
def masters_retry(which: WhichArgument, config: ConfigOption = None) -> None:
    """Forget that a set of frames made no master, so that it is tried again.

    Frames that wait for a calibration are queued.
    """
    with open_store(config) as (_, database):
        row = _the_one(database, which)
        if not forget_refusal(database, row.id or 0):
            fail(f"{_name(row)} was made; `masters approve` or `masters reject` say what becomes of it")
        woken = _wake(database, row, datetime.now(UTC))
    console.print(f"{_name(row)} is tried again when a frame needs it", markup=False)
    _tell_woken(woken)


def _listed(row: Master) -> dict[str, Any]:
    """Return a master's columns, with the numbers of its statistics under their names."""
    numbers = {"level": row.statistics.get("median"), "noise": row.statistics.get("noise")}
    numbers |= {name: row.statistics.get(name) for name in _MEASURED}
    return {name: numbers[name] if name in numbers else getattr(row, name) for name in _COLUMNS}


def _live_context(settings: Settings) -> Context:
    """Return what the live service plans with: a night that goes on keeps its masters."""
    return Reducer(settings, missing_calibration=settings.watch.missing_calibration).context


def _wake(database: Database, row: Master, now: datetime) -> int:
    """Queue the exposures of a master's camera that wait for a calibration; return how many."""
    queued = requeue(
        database,
        states=[State.HELD],
        waits_for="calibration",
        instrument=row.instrument,
        priority=Priority.REDO,
        now=now,
    )
    return len(queued)


def _tell_woken(woken: int) -> None:
    if woken:
        note(f"{woken} exposures that waited for a calibration are queued: {_TAKEN_UP}")


def _queue(database: Database, exposure_ids: list[int], now: datetime) -> int:
    if not exposure_ids:
        return 0
    return len(requeue(database, exposure_ids, priority=Priority.REDO, now=now))


def _the_one(database: Database, which: str) -> Master:
    """Return the master that a person means, or end with what is wrong."""
    found = find_masters(database, which)
    if not found:
        fail(f"no master is called {which!r}; `nightflow masters list` names them")
    if len(found) > 1:
        fail(f"{len(found)} masters begin with {which!r}; give more of the fingerprint, or the number")
    return found[0]


def _set_state(database: Database, which: str, state: str, reason: str) -> Master:
    found = _the_one(database, which)
    if state == "approved" and not found.path:
        fail(
            f"{_name(found)} was never made: {found.reason}; "
            f"`nightflow masters retry {found.fingerprint[:12]}` has it tried again"
        )
    row = set_master_state(database, found.id or 0, state, reason)
    if row is None:
        fail(f"master {which!r} is gone")
    return row


def _name(row: Master) -> str:
    return f"master {row.id} ({row.kind} {row.filter} {row.fingerprint[:12]})".replace("  ", " ")
