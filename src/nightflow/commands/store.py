"""`store`: does it agree with itself and the files; backups; room."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from nightflow.commands.common import (
    ConfigOption,
    ReportFormat,
    fail,
    note,
    open_store,
    print_findings,
    say,
    settings_or_exit,
)
from nightflow.doctor.store_check import check_consistency
from nightflow.errors import NightflowError
from nightflow.store.backup import backup, restore
from nightflow.store.consistency import recount
from nightflow.store.housekeeping import prune, vacuum

__all__ = ["store"]

store = typer.Typer(help="The store itself.", no_args_is_help=True)

_MEGABYTE = 1e6


@store.command("check")
def store_check(
    mend: Annotated[
        bool, typer.Option("--mend", help="Count anew what follows from other rows, then check.")
    ] = False,
    config: ConfigOption = None,
    output: Annotated[ReportFormat, typer.Option("--format", help="How to print.")] = ReportFormat.TABLE,
) -> None:
    """Check rows against rows and rows against files; exits with 1 on a fault."""
    with open_store(config) as (settings, database):
        if mend:
            note(f"{recount(database)} sources were counted or placed anew")
        bad = print_findings(check_consistency(settings, database), output)
    if bad:
        raise typer.Exit(1)


@store.command("prune")
def store_prune(
    keep: Annotated[
        int, typer.Option(min=0, help="Superseded versions of each frame that stay, the newest.")
    ] = 1,
    older_than: Annotated[
        float, typer.Option(min=0.0, metavar="DAYS", help="Versions made since then stay too.")
    ] = 30.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, delete nothing.")] = False,
    config: ConfigOption = None,
) -> None:
    """Delete the measurements of superseded reductions; their history and all light curves stay."""
    with open_store(config) as (_, database):
        gone = prune(database, now=datetime.now(UTC), keep=keep, days=older_than, dry_run=dry_run)
    verb = "would delete" if dry_run else "deleted"
    say(f"{verb} {gone.n_measurements} measurements of {gone.n_reductions} superseded reductions")
    if gone.n_measurements and not dry_run:
        note("`nightflow store vacuum` frees their room")


@store.command("vacuum")
def store_vacuum(config: ConfigOption = None) -> None:
    """Free unused room, and count anew what queries are planned by; an SQLite file shrinks."""
    with open_store(config) as (_, database):
        room = vacuum(database)
    say(f"{_megabytes(room.before)} before, {_megabytes(room.after)} after")


@store.command("backup")
def store_backup(
    file: Annotated[Path, typer.Argument(help="Where to; outside the disk of the store, if possible.")],
    force: Annotated[bool, typer.Option("--force", help="Replace FILE.")] = False,
    config: ConfigOption = None,
) -> None:
    """Copy the store, while it is in use, to FILE: an SQLite file, or an archive of pg_dump."""
    with open_store(config) as (_, database):
        size = backup(database, file, force=force)
    say(f"{file}: {_megabytes(size)}")


@store.command("restore")
def store_restore(
    file: Annotated[Path, typer.Argument(help="What `nightflow store backup` wrote.")],
    force: Annotated[
        bool, typer.Option("--force", help="Replace an SQLite store that has rows; the old one is kept.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Put a backup in the place of the store, where nothing else has it open."""
    settings = settings_or_exit(config)
    try:
        kept = restore(settings.store_url, file, force=force)
    except NightflowError as error:
        fail(str(error))
    say(f"restored from {file}; `nightflow store check` compares it with the files")
    if kept is not None:
        note(f"the old store is {kept}")


def _megabytes(size: int) -> str:
    return f"{size / _MEGABYTE:.1f} MB"
