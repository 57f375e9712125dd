"""Targets from files: a list of fixed ones, or the ephemeris of a moving one."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from astropy import units as u
from astropy.coordinates import Angle

from nightflow.errors import ConfigurationError
from nightflow.store.database import Database
from nightflow.store.models import Target
from nightflow.store.targets import add_target, add_targets, checked_target

__all__ = ["import_ephemeris", "import_targets", "target_names"]

_OPTIONAL = {"pmra": 0.0, "pmdec": 0.0, "epoch": 2000.0}


def import_targets(database: Database, path: Path) -> list[Target]:
    """Enter all targets of a CSV file or none: name, ra, dec, and any of pmra, pmdec, epoch, type, notes.

    Right ascension and declination are degrees, or sexagesimal with colons (hours and degrees).

    Raises
    ------
    ConfigurationError
        The file is not there, cannot be read or lacks a column, or a value is not a number; the message names
        the line.
    """
    rows = [_target(path, line, row) for line, row in _rows(path, ("name", "ra", "dec"))]
    return add_targets(database, rows)


def target_names(path: Path) -> list[str]:
    """Return the names in a CSV file of targets; other columns than ``name`` may be missing.

    Raises
    ------
    ConfigurationError
        The file is not there, cannot be read or has no column of names.
    """
    return [row["name"] for _, row in _rows(path, ("name",))]


def import_ephemeris(database: Database, name: str, path: Path, *, type: str = "", notes: str = "") -> Target:
    """Enter a moving target from a CSV file: mjd (UTC), ra, dec (ICRS degrees, or sexagesimal with colons).

    Raises
    ------
    ConfigurationError
        The file is not there, cannot be read or lacks a column, or a value is not a number; the message names
        the line.
    """
    rows = [
        (_number(path, line, row, "mjd"), _angle(path, line, row, "ra"), _angle(path, line, row, "dec"))
        for line, row in _rows(path, ("mjd", "ra", "dec"))
    ]
    return add_target(database, name, ephemeris=rows, type=type, notes=notes)


def _target(path: Path, line: int, row: dict[str, str]) -> dict[str, Any]:
    """Return the columns of a target."""
    values: dict[str, Any] = {key: _angle(path, line, row, key) for key in ("ra", "dec")}
    for key, default in _OPTIONAL.items():
        values[key] = _number(path, line, row, key) if row.get(key) else default
    values |= {key: row.get(key, "") for key in ("type", "notes")}
    try:
        return checked_target(row["name"], **values)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}, line {line}: {error}") from error


def _rows(path: Path, needed: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """Return each row with its line number, keys in lower case; lines that begin with # are comments."""
    if not path.is_file():
        raise ConfigurationError(f"{path}: there is no such file; name a CSV of {', '.join(needed)}")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        kept = [number for number, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
        reader = csv.reader(lines[number - 1] for number in kept)
        table = [(kept[reader.line_num - 1], [value.strip() for value in row]) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"{path}: cannot be read as CSV: {error}") from error
    names = [name.lower() for name in table[0][1]] if table else []
    missing = [name for name in needed if name not in names]
    if missing:
        raise ConfigurationError(
            f"{path}: no column {', '.join(missing)}; it has {', '.join(names) or 'none'}"
        )
    return [(line, _named(path, line, names, values)) for line, values in table[1:]]


def _named(path: Path, line: int, names: list[str], values: list[str]) -> dict[str, str]:
    if len(values) > len(names):
        raise ConfigurationError(f"{path}, line {line}: {len(values)} values for {len(names)} columns")
    return dict.fromkeys(names, "") | dict(zip(names, values, strict=False))


def _number(path: Path, line: int, row: dict[str, str], key: str) -> float:
    try:
        return float(row[key])
    except ValueError as error:
        raise ConfigurationError(f"{path}, line {line}: {key} = {row[key]!r} is not a number") from error


def _angle(path: Path, line: int, row: dict[str, str], key: str) -> float:
    """Return degrees."""
    if ":" not in row[key]:
        return _number(path, line, row, key)
    try:
        return float(Angle(row[key], unit=u.hourangle if key == "ra" else u.deg).degree)
    except ValueError as error:
        raise ConfigurationError(f"{path}, line {line}: {key} = {row[key]!r} is not an angle") from error
