"""What several commands share: the settings option, exits, tables."""

from __future__ import annotations

import csv
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nightflow.config import Settings, load_settings
from nightflow.doctor.finding import Finding, Level
from nightflow.errors import NightflowError
from nightflow.heap import keep_freed_memory
from nightflow.printable import printable
from nightflow.store.database import Database
from nightflow.store.models import Exposure, State
from nightflow.store.overview import find_exposures
from nightflow.wording import counted, first_few

if TYPE_CHECKING:
    from nightflow.pipeline.outcome import Observer
    from nightflow.pipeline.reducer import Reducer

__all__ = [
    "LISTED",
    "ConfigOption",
    "ReportFormat",
    "TableFormat",
    "batch_reducer",
    "check_named",
    "console",
    "fail",
    "finish_commands",
    "note",
    "one_missing",
    "only_exposure",
    "open_store",
    "print_findings",
    "print_json",
    "print_rows",
    "printable",
    "say",
    "settings_or_exit",
    "write_named",
]

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="Settings file; else NIGHTFLOW_CONFIG, else ./nightflow.toml."),
]

console = Console(highlight=False)

_LONG = frozenset({"reason", "warnings"})
"""Columns that may take several lines."""
_LEAST_WIDTH, _GAP = 24, 3
"""Characters that such a column needs, and those between two columns."""
_NAMING = 4
"""Cells of a row that tell which it is."""
LISTED = 10
"""Exposures that a message names."""
_errors = Console(stderr=True, highlight=False)


class TableFormat(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


FormatOption = Annotated[TableFormat, typer.Option("--format", help="How to print.")]


class ReportFormat(StrEnum):
    """How a report that is no table of rows is printed."""

    TABLE = "table"
    JSON = "json"


def batch_reducer(settings: Settings, until: str = "append", observer: Observer | None = None) -> Reducer:
    """Return the reducer of what works on frames that are all there: `run`, `backfill`, `finish`."""
    from nightflow.pipeline.reducer import Reducer  # numba and scipy: most commands only look into the store

    keep_freed_memory()
    return Reducer(
        settings,
        missing_calibration=settings.run.missing_calibration,
        until=until,
        products=settings.run.products,
        definitive_masters=True,
        observer=observer,
    )


def fail(message: str, code: int = 1) -> NoReturn:
    """Print what is wrong to standard error and exit."""
    _errors.print(f"[red]nightflow:[/red] {escape(_lines(message))}", soft_wrap=True)
    raise typer.Exit(code)


def note(message: str) -> None:
    """Print a line to standard error, so that standard output stays data."""
    _errors.print(escape(printable(message)), soft_wrap=True)


def say(message: str) -> None:
    """Print a line to standard output, whatever stands in it."""
    console.print(printable(message), markup=False, soft_wrap=True)


def _lines(message: str) -> str:
    """Return a message whose lines stay lines."""
    return "\n".join(printable(line) for line in message.split("\n"))


def finish_commands(nights: Sequence[str]) -> str:
    """Return the commands that conclude some nights, to be copied."""
    return ", ".join(f"`nightflow finish {night}`" for night in nights)


def one_missing(ra: float | None, dec: float | None) -> str:
    """Return what to say where one of right ascension and declination is given without the other."""
    given, wanted = (f"--dec {dec}", "--ra") if ra is None else (f"--ra {ra}", "--dec")
    return f"{given} without {wanted}: give both, in ICRS degrees"


def check_named(path: Path) -> None:
    """Exit where a file that the user named has no folder to be written into."""
    if not path.parent.is_dir():
        fail(f"{path}: there is no folder {path.parent}; make it, or name another one")
    if path.is_dir():
        fail(f"{path}: cannot be written: it is a folder; name a file")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        fail(f"{path}: cannot be written: no right to, or a read-only disk; name another file")


def write_named(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file that the user named, into a folder that is there; exit where it cannot be written."""
    check_named(path)
    try:
        write(path)
    except OSError as error:
        fail(f"{path}: cannot be written: {error.strerror or error}")


def only_exposure(database: Database, name: str) -> Exposure:
    """Return the exposure that a person means, or exit with what may have been meant."""
    found = find_exposures(database, name)
    if not found:
        fail(f"no exposure is called {name!r}; `nightflow frames` lists them")
    # What was delivered twice has one story: that of its first row.
    first = [one for one in found if one.state != State.DUPLICATE]
    if len(first) == 1:
        return first[0]
    if len(found) > 1:
        some = first_few([f"{one.id}  {one.state}  {one.path}" for one in found], LISTED, "\n  ")
        fail(f"{len(found)} exposures are called {name!r}; say which, by number or name:\n  {some}")
    return found[0]


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
            print_json(rows)
        case TableFormat.CSV:
            writer = csv.DictWriter(sys.stdout, columns, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows({name: _cell(row.get(name)) for name in columns} for row in rows)
        case TableFormat.TABLE:
            _print_table(rows, columns, title)


def print_json(content: Any) -> None:
    """Print JSON to standard output; times in ISO 8601, NaN as null."""
    sys.stdout.write(json.dumps(_plain(content), default=_as_text, indent=1, allow_nan=False) + "\n")


def _plain(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def _as_text(value: Any) -> str:
    return value.isoformat(timespec="milliseconds") if isinstance(value, datetime) else str(value)


def _cell(value: Any) -> Any:
    return "" if value is None else value


def _print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], title: str) -> None:
    """Print the columns that are not empty in all rows, each value in full.

    Reasons give way where the terminal is narrow: over several lines, or below the table.
    """
    texts = {name: [printable(_short(row.get(name))) for row in rows] for name in columns}
    filled = [name for name in columns if any(texts[name])] or list(columns)
    long = [name for name in filled if name in _LONG]
    fixed = {name: max(map(len, [name, *texts[name]])) for name in filled if name not in _LONG}
    below = bool(long) and sum(fixed.values()) + _GAP * len(filled) + _LEAST_WIDTH > console.width
    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name, width in fixed.items():
        table.add_column(name, no_wrap=True, min_width=width)
    for name in () if below else long:
        table.add_column(name, overflow="fold")
    shown = [column.header for column in table.columns]
    for number in range(len(rows)):
        table.add_row(*(escape(texts[str(name)][number]) for name in shown))
    # Cells that the terminal is too narrow for wrap as lines of text do: none is cut.
    least = sum(fixed.values()) + _GAP * len(fixed)
    if least > console.width:
        table.width = least
    console.print(table, crop=False)
    for number in range(len(rows)) if below else ():
        _print_reasons(number, texts, shown, long)


def _print_reasons(
    number: int, texts: Mapping[str, list[str]], shown: Sequence[Any], long: Sequence[str]
) -> None:
    """Print what has no room in its row, after the first cells of that row."""
    name = " ".join(filter(None, (texts[str(one)][number] for one in shown[:_NAMING])))
    for text in (texts[one][number] for one in long if texts[one][number]):
        console.print(f"{name}: {text}", markup=False)


def _short(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)


_COLORS = {Level.OK: "green", Level.NOTE: "cyan", Level.WARNING: "yellow", Level.FAULT: "red"}
_INDENT = 10


def print_findings(found: Iterable[Finding], output: ReportFormat) -> bool:
    """Print findings as they come; return whether one of them is a fault."""
    findings = []
    for finding in found:
        findings.append(finding)
        if output is ReportFormat.TABLE:
            _print_finding(finding)
    if output is ReportFormat.JSON:
        print_json([{**vars(one), "level": str(one.level)} for one in findings])
    else:
        console.print(_summary(findings))
    return any(one.level is Level.FAULT for one in findings)


def _print_finding(finding: Finding) -> None:
    label = f"{finding.level:<{_INDENT}}"
    console.print(label, style=_COLORS[finding.level], end="", markup=False)
    console.print(printable(f"{finding.subject}: {finding.message}"), markup=False, soft_wrap=True)
    if finding.mend and finding.level is not Level.OK:
        console.print(printable(f"{'':<{_INDENT}}-> {finding.mend}"), markup=False, soft_wrap=True)


def _summary(findings: list[Finding]) -> str:
    faults = sum(one.level is Level.FAULT for one in findings)
    warnings = sum(one.level is Level.WARNING for one in findings)
    if not faults and not warnings:
        return "\nall is well"
    return f"\n{counted(faults, 'fault')}, {counted(warnings, 'warning')}"
