"""A folder of raw frames, reduced by the commands that an observer types."""

from __future__ import annotations

import csv
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from nightflow.cli import app
from nightflow.config import load_settings
from nightflow.store.database import Database
from nightflow.store.masters import masters
from tests.unit.store.builders import everything


@dataclass
class Night:
    """A store and what was put into it."""

    root: Path
    output: str = ""
    """What the last `run` printed."""
    exit_code: int = -1

    @classmethod
    def prepared(cls, root: Path, catalogs: dict[str, Path]) -> Night:
        """Make a store with `init` and `catalog import`; ``catalogs`` maps a name to a file."""
        night = cls(root)
        invoke(root, "init", str(root))
        for name, file in catalogs.items():
            night.command("catalog", "import", str(file), "--name", name)
        return night

    def run(self, *paths: Path, until: str = "append") -> None:
        result = invoke(self.root, "run", "--until", until, *map(str, paths))
        self.output, self.exit_code = result.output, result.exit_code

    def command(self, *arguments: str) -> str:
        """Return what a command that must succeed prints to standard output."""
        result = invoke(self.root, *arguments)
        assert result.exit_code == 0, result.output
        return result.stdout

    def frames(self) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.command("frames", "--format", "csv"))))

    def lights(self) -> dict[str, dict[str, str]]:
        """Return the rows of the light frames by file name."""
        return {Path(row["path"]).name: row for row in self.frames() if row["kind"] == "light"}

    def lightcurve(self, *arguments: str) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.command("lightcurve", *arguments))))

    def database(self) -> Database:
        return Database(load_settings(self.root / "nightflow.toml").store_url)

    def dump(self) -> dict[str, list[Any]]:
        """Return every row of every table."""
        with self.database() as database:
            return everything(database)

    def masters(self) -> dict[str, dict[str, Any]]:
        """Return the masters' rows by kind; the nights here need one of each."""
        with self.database() as database:
            return {row.kind: row.model_dump() for row in masters(database)}

    def product(self, name: str) -> Path:
        """Return the reduced frame of a raw file."""
        (path,) = self.root.glob(f"products/*/{name.split('.fit')[0].split('.FIT')[0]}-*.fits")
        return path


def invoke(root: Path, *arguments: str) -> Result:
    """Run a command on the store in ``root``, with no settings of the person who runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for key in [key for key in os.environ if key.startswith(("NIGHTFLOW_", "PREFECT_"))]:
            patch.delenv(key)
        patch.setenv("NIGHTFLOW_CONFIG", str(root / "nightflow.toml"))
        return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def number(text: str) -> float:
    """Return a cell as a number; an empty one is NaN."""
    return float(text) if text else float("nan")
