"""A telescope's computer: a Prefect server, `nightflow watch`, a folder that frames land in, a ledger."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlmodel import col, select

from benchmarks.live.delivery import CALIBRATIONS, Delivery, templates
from benchmarks.live.figures import FrameTimes
from benchmarks.workshop import CATALOG, Workshop
from nightflow.catalogs.importer import import_catalog
from nightflow.config import DEFAULT_FILE, Settings, load_settings
from nightflow.demo.processes import prefect_server, program, running, wait_for, watcher
from nightflow.errors import NightflowError
from nightflow.store.database import Database
from nightflow.store.models import Exposure
from nightflow.store.overview import counts, queue_length

__all__ = ["Rig", "steps_of"]

WARM_UP = 6
"""Frames that are reduced before the clock runs."""
_SETTINGS = """
[paths]
cameras = "{cameras}"

[watch]
folders = ["incoming"]

[products]
quota = {quota}
"""
_QUOTA = 4.0
"""Gigabytes of products that stay."""
_PATIENCE = 300.0
"""Seconds that what is left in the queue may take after the last frame has landed, and one more for each."""
_LAST_WORDS = 3000
"""Characters of the service's log that come with an error."""


@dataclass(frozen=True)
class Rig:
    """What runs.

    Attributes
    ----------
    settings : Settings
    service : subprocess.Popen
        `nightflow watch`.
    delivery : Delivery
        Into the folder that it watches.
    """

    settings: Settings
    service: subprocess.Popen[bytes]
    delivery: Delivery

    @classmethod
    @contextmanager
    def warm(cls, workshop: Workshop, *, spacing: float, database: str = "") -> Iterator[Rig]:
        """Run server and service, which has its masters and has reduced some frames; end them with the block.

        Parameters
        ----------
        workshop : Workshop
            Makes the frames.
        spacing : float
            Seconds between the times in the frames' headers.
        database : str
            Of the Prefect server; see `benchmarks.live.prefect_database`.
        """
        made = templates(workshop)
        calibrations = [path for kind, count in CALIBRATIONS.items() for path in workshop.files(kind, count)]
        with tempfile.TemporaryDirectory(prefix="live-", dir=workshop.folder) as name:
            settings = _settings(Path(name), workshop)
            log = settings.root / "watch.log"
            with (
                _its_last_words(log),
                prefect_server(Path(name) / "prefect", database) as url,
                watcher(settings, url) as service,
            ):
                folder = settings.resolve(settings.watch.folders[0])
                rig = cls(settings, service, Delivery(made, folder, spacing))
                for path in calibrations:
                    (folder / path.name).write_bytes(path.read_bytes())
                rig.wait_until_settled(len(calibrations))
                for number in range(WARM_UP):
                    rig.deliver(f"warm-{number}", 1, 0.0)
                    rig.wait_until_settled(len(calibrations) + number + 1)
                yield rig

    @property
    def log(self) -> Path:
        """What the service says."""
        return self.settings.root / "watch.log"

    def deliver(self, name: str, frames: int, cadence: float) -> dict[str, float]:
        """Let so many frames land; return when each was closed, by name."""
        return self.delivery.land(name, cadence, lambda landed: self._serves() and landed < frames)

    def deliver_beside(
        self, other: subprocess.Popen[bytes], name: str, cadence: float, most: int
    ) -> dict[str, float]:
        """Let frames land as long as another program runs; return when each was closed, by name.

        Raises
        ------
        NightflowError
            It runs still when so many have landed.
        """

        def another(landed: int) -> bool:
            if landed == most and other.poll() is None:
                raise NightflowError(f"{other.args!r} runs still after {most} frames every {cadence:g} s")
            return self._serves() and other.poll() is None

        return self.delivery.land(name, cadence, another)

    def wait_until_settled(self, expected: int) -> None:
        """Wait until so many exposures stand in the ledger and none is in the queue; not for ever."""
        patience = _PATIENCE + expected
        with Database(self.settings.store_url) as database:

            def settled() -> bool:
                return sum(counts(database).values()) >= expected and queue_length(database) == 0

            wait_for(settled, self.service, self.log, patience)

    def known(self) -> int:
        """Return how many exposures stand in the ledger."""
        with Database(self.settings.store_url) as database:
            return sum(counts(database).values())

    def times(self, closed: Mapping[str, float]) -> list[FrameTimes]:
        """Return what ledger and log say of the frames that landed, in the order in which they did."""
        steps = steps_of(self.log.read_text(errors="replace"))
        with Database(self.settings.store_url) as database, database.session() as session:
            columns = select(Exposure.path, Exposure.received_at, Exposure.done_at, Exposure.state)
            rows = {Path(row[0]).name: row[1:] for row in session.exec(columns.order_by(col(Exposure.id)))}
        found = []
        for name, moment in closed.items():
            received, done, state = rows.get(name, (None, None, "not received"))
            found.append(
                FrameTimes(
                    name=name,
                    closed=moment,
                    received=received.timestamp() if received is not None else None,
                    settled=done.timestamp() if done is not None else None,
                    state=str(state),
                    steps=steps.get(name, {}),
                )
            )
        return found

    @contextmanager
    def backfill(self, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
        """Run `nightflow backfill` on a folder; it is ended with the block."""
        config = self.settings.root / DEFAULT_FILE
        command = [program("nightflow"), "backfill", "--path", str(folder), "--config", str(config)]
        with running(command, self._backfill_log, {}) as process:
            yield process

    @property
    def backfill_said(self) -> str:
        """How the log of the backfill ends."""
        return _end_of(self._backfill_log)

    @property
    def _backfill_log(self) -> Path:
        return self.settings.root / "backfill.log"

    def _serves(self) -> bool:
        if self.service.poll() is not None:
            raise NightflowError(f"nightflow watch ended with {self.service.returncode}; see {self.log}")
        return True


@contextmanager
def _its_last_words(log: Path) -> Iterator[None]:
    """Say with an error how the log ends: its file goes with the folder."""
    try:
        yield
    except NightflowError as error:
        raise NightflowError(f"{error}\n{_end_of(log)}") from error


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-_LAST_WORDS:] if log.is_file() else ""


def _settings(root: Path, workshop: Workshop) -> Settings:
    (root / "incoming").mkdir()
    (root / DEFAULT_FILE).write_text(_SETTINGS.format(cameras=workshop.cameras, quota=_QUOTA))
    settings = load_settings(root / DEFAULT_FILE)
    import_catalog(workshop.catalog_file, CATALOG, settings.resolve(settings.paths.catalogs))
    with Database(settings.store_url) as database:
        database.upgrade()
    return settings


def steps_of(log: str) -> dict[str, dict[str, float]]:
    """Return the seconds of each step by file, from the service's lines."""
    found = {}
    for line in log.splitlines():
        if " file=" in line:
            words = dict(word.split("=", 1) for word in shlex.split(line) if "=" in word)
            seconds = {key.removesuffix("_s"): words[key] for key in words if key.endswith("_s")}
            found[words["file"]] = {step: float(value) for step, value in seconds.items()}
    return found
