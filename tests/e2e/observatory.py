"""A watcher, its folder and its ledger, for tests that let a night land."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightflow.catalogs.importer import import_catalog
from nightflow.errors import NightflowError
from nightflow.store.database import Database
from nightflow.store.overview import counts, frame_rows, queue_length

if TYPE_CHECKING:
    from tests.e2e.conftest import Watcher

SETTINGS = """
[watch]
missing_calibration = "{missing_calibration}"
settle_seconds = 0.5
sweep_seconds = 5.0
lease_seconds = 60.0

[prefect]
api_url = "{url}"
probe_seconds = 1.0
"""


class Observatory:
    """A watcher, its folder and its ledger."""

    def __init__(self, watcher: Watcher, night: Path, *, catalog: bool = True) -> None:
        self.watcher = watcher
        self.incoming = watcher.root / "incoming"
        self.database = Database(f"sqlite:///{watcher.root / 'nightflow.sqlite'}")
        self._night = night
        if catalog:
            import_catalog(night / "catalog.csv", "field", watcher.root / "catalogs")

    def frames(self, *kinds: str) -> list[Path]:
        return sorted(path for kind in kinds for path in (self._night / "raw").glob(f"*-{kind}*.fits"))

    def deliver(self, *files: Path) -> None:
        for file in files:
            shutil.copy(file, self.incoming)

    def settled(self, number: int) -> bool:
        """Whether so many exposures are in the ledger and all are terminal."""
        try:
            return sum(counts(self.database).values()) == number and queue_length(self.database) == 0
        except NightflowError:
            return False  # the service has not made the tables yet

    def knows(self, name: str) -> bool:
        """Whether a file of this name is in the ledger."""
        try:
            return name in self.rows()
        except NightflowError:
            return False  # the service has not made the tables yet

    def rows(self) -> dict[str, dict[str, Any]]:
        return {Path(row["path"]).name: row for row in frame_rows(self.database)}

    def query(self, statement: str) -> list[Any]:
        connection = sqlite3.connect(self.watcher.root / "nightflow.sqlite")
        try:
            return connection.execute(statement).fetchall()
        finally:
            connection.close()
