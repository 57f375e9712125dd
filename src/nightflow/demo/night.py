"""A night in a few minutes: simulate it, let it land frame by frame, watch it, plot the transit.

Everything is real: a Prefect server, the watcher in a process of its own, files that land one by one.
Nothing but the frames and their catalogue reaches the reducer; the truth is read at the very end.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from nightflow.catalogs.importer import import_catalog
from nightflow.commands.setup import SETTINGS_TEXT
from nightflow.config import DEFAULT_FILE, Settings, load_settings
from nightflow.demo.processes import catch_up_runs, count_runs, prefect_server, wait_for, watcher
from nightflow.demo.report import DemoReport, conclude, describe
from nightflow.service.unshown import count_shown
from nightflow.simulate import NightPlan, NightTruth, write_night
from nightflow.store.database import Database
from nightflow.store.overview import counts, queue_length
from nightflow.store.targets import add_target

__all__ = ["run_demo"]

_NIGHT_PATIENCE = 300.0


def run_demo(
    folder: Path,
    *,
    plan: NightPlan | None = None,
    cadence: float = 0.5,
    keep: bool = False,
    say: Callable[[str], None] = print,
) -> DemoReport:
    """Simulate a night, reduce it live, and compare the light curve with the truth.

    Parameters
    ----------
    folder : Path
        Where everything goes; emptied first.
    plan : NightPlan, optional
        What to simulate; by default a whole night.
    cadence : float
        Seconds between two frames that land.
    keep : bool
        Leave server and watcher running until interrupted.
    say : callable
        Tells the reader what is going on.

    Raises
    ------
    NightflowError
        The server did not start, or frames were left unfinished.
    """
    shutil.rmtree(folder, ignore_errors=True)
    say("simulating a night of HAT-P-32 ...")
    began = time.monotonic()
    truth = write_night(plan or NightPlan(), folder / "simulated")
    frames = sorted((folder / "simulated" / "raw").glob("*.fits"))
    say(f"  {len(frames)} frames in {time.monotonic() - began:.0f} s")
    settings = prepare(folder, truth)
    say("starting a Prefect server ...")
    with prefect_server(folder / "prefect") as url, watcher(settings, url) as process:
        say(f"  live at {url.removesuffix('/api')}/deployments")
        land(frames, settings.resolve(settings.watch.folders[0]), cadence)
        say(f"  all {len(frames)} frames have landed; waiting for the last to be reduced ...")
        wait_until_reduced(settings, len(frames), process)
        report = conclude(settings, folder, runs=count_runs(url), catch_up_runs=catch_up_runs(url), url=url)
        for line in describe(report):
            say(line)
        if keep:
            say(f"\nstill running: {report.url}  (Ctrl-C ends it)")
            _sleep_until_interrupted(process)
    return report


def prepare(folder: Path, truth: NightTruth) -> Settings:
    """Write settings, import the catalogue, enter the target; nothing else of the truth goes in."""
    (folder / "incoming").mkdir(parents=True)
    (folder / DEFAULT_FILE).write_text(SETTINGS_TEXT)
    settings = load_settings(folder / DEFAULT_FILE)
    import_catalog(folder / "simulated" / "catalog.csv", "field", settings.resolve(settings.paths.catalogs))
    stars = truth.scene.stars
    target = int(stars.is_target.argmax())
    with Database(settings.store_url) as database:
        database.upgrade()
        name, ra, dec = truth.plan.field.name, float(stars.ra[target]), float(stars.dec[target])
        add_target(database, name, ra, dec, type="transit")
    return settings


def land(frames: Sequence[Path], folder: Path, cadence: float) -> None:
    """Copy frames into a folder one after another, as a camera's computer would."""
    for frame in frames:
        began = time.monotonic()
        partial = folder / f".{frame.name}.part"
        shutil.copyfile(frame, partial)
        partial.replace(folder / frame.name)
        time.sleep(max(0.0, cadence - (time.monotonic() - began)))


def wait_until_reduced(settings: Settings, expected: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until so many exposures stand in the ledger, none is in the queue, and runs show them all."""
    log = settings.root / "watch.log"
    with Database(settings.store_url) as database:

        def settled() -> bool:
            ended = sum(counts(database).values()) >= expected and queue_length(database) == 0
            return ended and count_shown(database) >= expected

        wait_for(settled, process, log, _NIGHT_PATIENCE)


def _sleep_until_interrupted(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait()
    except KeyboardInterrupt:
        return
