"""What several commands share: the settings option, exits, tables."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nightflow.config import Settings, load_settings
from nightflow.errors import NightflowError
from nightflow.store.database import Database

__all__ = [
    "ConfigOption",
    "TableFormat",
    "console",
    "fail",
    "note",
    "open_store",
    "print_rows",
    "settings_or_exit",
]

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="Settings file; else NIGHTFLOW_CONFIG, else ./nightflow.toml."),
]

console = Console(highlight=False)
_errors = Console(stderr=True, highlight=False)


class TableFormat(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


def fail(message: str, code: int = 1) -> NoReturn:
    """Print what is wrong to standard error and exit."""
    _errors.print(f"[red]nightflow:[/red] {escape(message)}", soft_wrap=True)
    raise typer.Exit(code)


def note(message: str) -> None:
    """Print a line to standard error, so that standard output stays data."""
    _errors.print(escape(message), soft_wrap=True)


def settings_or_exit(config: Path | None) -> Settings:
    """Return the settings, or exit with what is wrong with them."""
    try:
        return load_settings(config)
    except NightflowError as error:
        fail(str(error))


@contextmanager
def open_store(config: Path | None) -> Iterator[tuple[Settings, Database]]:
    """Open settings and store; a `NightflowError` inside ends the command with its message alone."""
    settings = settings_or_exit(config)
    try:
        with Database(settings.store_url) as database:
            database.upgrade()
            yield settings, database
    except NightflowError as error:
        fail(str(error))


def print_rows(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], output: TableFormat, title: str = ""
) -> None:
    """Print rows as a table, as CSV (an empty cell is null) or as JSON."""
    match output:
        case TableFormat.JSON:
            sys.stdout.write(json.dumps([dict(row) for row in rows], default=str, indent=1) + "\n")
        case TableFormat.CSV:
            writer = csv.DictWriter(sys.stdout, columns, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows({name: _cell(row.get(name)) for name in columns} for row in rows)
        case TableFormat.TABLE:
            console.print(_table(rows, columns, title))


def _cell(value: Any) -> Any:
    return "" if value is None else value


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], title: str) -> Table:
    table = Table(title=title or None, title_justify="left")
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(escape(_short(row.get(name))) for name in columns))
    return table


def _short(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)
