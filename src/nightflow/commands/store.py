"""`store check`: does the store agree with itself, and with the files?"""

from __future__ import annotations

from typing import Annotated

import typer

from nightflow.commands.common import (
    ConfigOption,
    ReportFormat,
    note,
    open_store,
    print_findings,
)
from nightflow.doctor.store_check import check_consistency
from nightflow.store.consistency import recount

__all__ = ["store"]

store = typer.Typer(help="The store itself.", no_args_is_help=True)


@store.callback()
def _group() -> None:
    """Keep `check` a command of its own."""


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
