"""A telescope's computer for tests: a folder, a watcher as a process of its own, a ledger to look into."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from tests.e2e.conftest import BIN, clean_environment, wait_until
from tests.faults.clock import SteppedClock
from tests.faults.mounts import is_mounted, unmount

SETTINGS = """
[watch]
folders = ["incoming", "disk/incoming", "card"]
settle_seconds = 0.5
sweep_seconds = 2.0
{watch}

[run]
products = false

[paths]
masters = "store/masters"
products = "store/products"

# The disk of the store is a small one, and products are to fill it.
[notify]
room_gib = 0

[store]
url = "{url}"
"""
NO_PREFECT = """
[prefect]
enabled = false
"""
RIGGED = Path(__file__).with_name("rigged.py")
_TERMINAL = ("done", "held", "rejected", "failed", "duplicate")
_WATCH = (sys.executable, str(RIGGED), "watch")
Rows = dict[tuple[str, str, int], tuple[int | None, float | None]]
"""File, kind and number of a measurement -> its source and magnitude."""


class Site:
    """One store with its watcher; frames are those of a simulated night.

    Parameters
    ----------
    root, night : Path
        Folder of the site, and of the simulated night.
    url : str
        Of the store.
    watch : str
        Further lines of the section ``[watch]``.
    sections : str
        Further sections of the settings.
    environment : mapping, optional
        Variables of the watcher's environment.
    command : sequence of str
        What the watcher is started through, as `nice`.
    """

    def __init__(
        self,
        root: Path,
        night: Path,
        url: str = "sqlite:///store/nightflow.sqlite",
        *,
        watch: str = "",
        sections: str = NO_PREFECT,
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] = (),
    ) -> None:
        self.root = root
        self.incoming = root / "incoming"
        self.disk = root / "disk/incoming"
        self.card = root / "card"
        self.store = root / "store"
        self.masters, self.products = self.store / "masters", self.store / "products"
        self.settings = root / "nightflow.toml"
        self.strikes = root / "strikes"
        self.night = night
        self.process: subprocess.Popen[bytes] | None = None
        self.command_before = command
        self.clock: SteppedClock | None = None
        self.environment = {"FAULTS_STRIKES": str(self.strikes), **(environment or {})}
        for folder in (self.incoming, self.disk, self.card, self.store, self.strikes):
            folder.mkdir(parents=True)
        self.settings.write_text(SETTINGS.format(watch=watch, url=url) + sections)
        self.engine = create_engine(
            url.replace("sqlite:///", f"sqlite:///{root}/"),
            poolclass=NullPool,
        )
        self._take_catalog(night / "catalogs")

    def _take_catalog(self, made: Path) -> None:
        """Take the field's catalogue, which the first site of the night makes."""
        if made.is_dir():
            shutil.copytree(made, self.root / "catalogs")
            return
        self.command("catalog", "import", str(self.night / "catalog.csv"), "--name", "field")
        shutil.copytree(self.root / "catalogs", made)

    def frames(self, *kinds: str) -> list[Path]:
        """Return the night's raw frames of some kinds, in order of time."""
        return sorted(path for kind in kinds for path in (self.night / "raw").glob(f"*-{kind}*.fits"))

    def deliver(self, *files: Path) -> None:
        for file in files:
            shutil.copy(file, self.incoming)

    def command(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        environment = clean_environment() | {"NIGHTFLOW_CONFIG": str(self.settings)}
        return subprocess.run(
            [BIN / "nightflow", *arguments],
            env=environment,
            check=check,
            capture_output=True,
            text=True,
            timeout=1200,
        )

    def live_by(self, clock: SteppedClock) -> None:
        """Let the watcher see the time of this clock, from its next start on."""
        self.clock = clock
        self.environment |= clock.environment

    def strike(self, *names: str) -> None:
        """Let a worker be struck at a step, once each, never the same exposure twice; see `rigged`."""
        for name in names:
            (self.strikes / name).touch()

    def struck(self, name: str) -> bool:
        return (self.strikes / f"{name}.struck").exists()

    def start(self) -> None:
        with (self.root / "watch.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.command_before, *self._as_anybody(), *_WATCH, "--config", self.settings],
                env=clean_environment() | self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _as_anybody(self) -> list[str]:
        """Return what makes of a superuser one whom rights on files hold back, as everybody else.

        But not from the socket of a Postgres of the tests, which belongs to its own user.
        """
        if os.geteuid() != 0 or self.engine.dialect.name != "sqlite" or shutil.which("setpriv") is None:
            return []
        return ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)

    def close(self) -> None:
        """Leave nothing behind that goes on, or that is mounted."""
        self.kill()
        for folder in (self.card, self.store):
            while is_mounted(folder):
                unmount(folder)

    def workers(self) -> list[int]:
        """Return the processes of its workers: the children of its nursery, which is its child."""
        assert self.process is not None
        return [worker for nursery in _children(self.process.pid) for worker in _children(nursery)]

    def stop(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0, self.log[-4000:]

    @property
    def log(self) -> str:
        return (self.root / "watch.log").read_text(errors="replace")

    def query(self, statement: str, **parameters: Any) -> list[Any]:
        """Ask the ledger."""
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(statement), parameters)]

    def look(self, statement: str, **parameters: Any) -> list[Any]:
        """Ask the ledger; nothing where it is away, or has no tables yet."""
        try:
            return self.query(statement, **parameters)
        except DBAPIError:
            return []

    def states(self, name: str) -> list[str]:
        """Return the states of the exposures that were received under a name, in their order."""
        rows = self.look("SELECT state FROM exposure WHERE path LIKE :path ORDER BY id", path=f"%/{name}")
        return [state for (state,) in rows]

    def wait_for(self, name: str, *states: str, seconds: float = 240) -> None:
        """Wait until the exposures of this name are in these states."""
        wait_until(lambda: self.states(name) == [*states], seconds, f"{name} to be {states}")

    def tells(self, text: str, times: int = 1, seconds: float = 300) -> None:
        """Wait until the watcher's log has this, so often."""
        wait_until(lambda: self.log.count(text) >= times, seconds, f"{text!r} in the log, {times} times")

    def wait_until_settled(self, names: list[str], seconds: float = 240) -> None:
        """Wait until each of these files is done and nothing is in work."""

        def settled() -> bool:
            busy = self.look(f"SELECT 1 FROM exposure WHERE state NOT IN {_TERMINAL}")
            return not busy and all("done" in self.states(name) for name in names)

        wait_until(settled, seconds, f"all frames to settle\n{self.log[-3000:]}")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the store's write lock, as a tool that somebody left open does."""
        with self.engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield
            connection.rollback()

    def finish(self) -> Rows:
        """Conclude the night, and check that its rows agree with each other; return its light curves."""
        [(night,)] = self.query("SELECT DISTINCT night FROM frame WHERE kind = 'light'")
        self.command("finish", night)
        self.command("store", "check")
        return self.rows()

    def rows(self) -> Rows:
        """Return what was measured on the frames of current reductions."""
        found = self.query(
            "SELECT exposure.path, measurement.kind, measurement.number, source_id, mag FROM measurement "
            "JOIN reduction ON reduction.id = reduction_id JOIN frame ON frame.id = frame_id "
            "JOIN exposure ON exposure.id = exposure_id "
            "WHERE reduction.current"
        )
        rows = {(Path(path).name, kind, number): (source, mag) for path, kind, number, source, mag in found}
        assert len(rows) == len(found), "a frame is in the light curves twice"
        return rows


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def check_night(site: Site, undisturbed: Rows, curves: Rows, but: Sequence[str] = ()) -> None:
    """Nothing lost, nothing doubled, every frame terminal, and the light curves of the undisturbed night.

    Parameters
    ----------
    but : sequence of str
        Names of frames that may be held.
    """
    assert site.query(f"SELECT path, state FROM exposure WHERE state NOT IN {_TERMINAL}") == []
    kept = site.query("SELECT path, reason FROM exposure WHERE state IN ('failed', 'held')")
    assert [row for row in kept if Path(row[0]).name not in but] == []
    doubled = "SELECT frame_id FROM reduction WHERE current GROUP BY frame_id HAVING count(*) > 1"
    assert site.query(doubled) == []
    assert different(undisturbed, curves) == []


def different(expected: Rows, found: Rows) -> list[object]:
    """Return what differs: rows that are missing or too many, other sources, 0.1 mmag and more."""
    faults: list[object] = sorted(expected.keys() ^ found.keys())
    for key in expected.keys() & found.keys():
        (source, mag), (other, other_mag) = expected[key], found[key]
        same = mag == other_mag if mag is None or other_mag is None else abs(mag - other_mag) < 1e-4
        if source != other or not same:
            faults.append((key, expected[key], found[key]))
    return faults
