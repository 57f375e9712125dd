"""A night with a dozen faults: nothing is lost, nothing doubled, and the light curves are the same.

The cases share one night, because a night costs half a minute; each is a test of its own, with its own light.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CalledProcessError

import pytest
from sqlalchemy.exc import DBAPIError

from tests.e2e.conftest import wait_until
from tests.faults.cases import CASES, Case
from tests.faults.site import Rows, Site, check_night, different

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def two_watchers(site: Site) -> None:
    second = site.command("watch", check=False)
    assert second.returncode == 1
    assert "another `nightflow watch` works on this ledger" in second.stderr


def wrong_settings_on_reload(site: Site) -> None:
    assert site.process is not None
    right = site.settings.read_text()
    site.settings.write_text(right.replace("sweep_seconds", "swept_seconds"))
    site.process.send_signal(signal.SIGHUP)
    wait_until(
        lambda: "new settings not taken, the old ones stay" in site.log, 20, "wrong settings to be told"
    )
    site.settings.write_text(right)
    site.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "new settings taken" in site.log, 30, "right settings to be taken")


def database_locked(site: Site) -> None:
    with site.locked():
        time.sleep(3)


def service_killed(site: Site) -> None:
    wait_until(lambda: site.look("SELECT 1 FROM exposure WHERE state = 'reducing'"), 60, "a frame in work")
    site.kill()
    site.start()
    wait_until(lambda: site.log.count("watching ") == 2, 30, "the service to be there again")


def products_read_only(site: Site) -> None:
    """With a light of its own, which is delivered meanwhile."""
    light = site.frames("light")[3]
    folders = [
        site.root / "products",
        *(path for path in (site.root / "products").rglob("*") if path.is_dir()),
    ]
    for folder in folders:
        folder.chmod(0o555)
    try:
        site.deliver(light)
        site.wait_for(light.name, "done")
        told = "SELECT 1 FROM exposure WHERE path LIKE :path AND reason LIKE '%products not written%'"
        wait_until(lambda: site.look(told, path=f"%/{light.name}"), 20, "the loss of products to be told")
    finally:
        for folder in folders:
            folder.chmod(0o755)


def workers_killed(site: Site) -> None:
    """One after the other, whatever they have in work; what saw it is tried again."""
    assert site.process is not None
    for _ in range(2):
        workers = site.workers()
        assert workers, "no worker is there"
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: set(site.workers()) - set(workers), 30, "another worker to be there")  # noqa: B023


OF_THE_SERVICE: dict[str, Callable[[Site], None]] = {
    "service killed": service_killed,
    "two watchers": two_watchers,
    "database locked": database_locked,
    "wrong settings on reload": wrong_settings_on_reload,
    "products read-only": products_read_only,
    "workers killed": workers_killed,
}


@dataclass
class DisturbedNight:
    site: Site
    curves: Rows = field(default_factory=dict)
    faults: dict[str, BaseException | None] = field(default_factory=dict)

    def note(self, name: str, action: Callable[[], object]) -> None:
        try:
            action()
            self.faults[name] = None
        except (AssertionError, OSError, DBAPIError, CalledProcessError) as error:
            self.faults[name] = error


@pytest.fixture(scope="module")
def disturbed(night: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DisturbedNight]:
    """The night with all its faults, concluded."""
    site = Site(tmp_path_factory.mktemp("disturbed"), night)
    told = DisturbedNight(site)
    calibrations, lights = site.frames("bias", "dark", "flat"), site.frames("light")
    site.start()
    try:
        site.deliver(*calibrations, *lights[:3])
        told.note("service killed", lambda: service_killed(site))
        with ThreadPoolExecutor(len(CASES)) as pool:
            running: list[Future[None]] = [
                pool.submit(told.note, case.name, lambda case=case, light=light: case.disturb(site, light))
                for case, light in zip(CASES, lights[4:], strict=True)
            ]
            for name, disturb in OF_THE_SERVICE.items():
                if name != "service killed":
                    told.note(name, lambda disturb=disturb: disturb(site))
            for future in running:
                future.result()
        told.note(
            "settling", lambda: site.wait_until_settled([path.name for path in (*calibrations, *lights)])
        )
        told.note("stopping", site.stop)
        told.curves = site.finish()
        yield told
    finally:
        site.kill()


@pytest.mark.parametrize(
    ("case", "number"), [pytest.param(case, 4 + i, id=case.name) for i, case in enumerate(CASES)]
)
def test_a_frame(case: Case, number: int, disturbed: DisturbedNight, undisturbed: Rows) -> None:
    fault = disturbed.faults[case.name]
    assert fault is None, fault
    name = disturbed.site.frames("light")[number].name
    assert tuple(disturbed.site.states(name)) == case.states
    own = {key: row for key, row in undisturbed.items() if key[0] == name}
    assert own
    assert different(own, {key: row for key, row in disturbed.curves.items() if key[0] == name}) == []


@pytest.mark.parametrize("name", [*OF_THE_SERVICE, "settling", "stopping"])
def test_the_service(name: str, disturbed: DisturbedNight) -> None:
    fault = disturbed.faults[name]
    assert fault is None, fault


def test_the_night_is_that_of_the_undisturbed_one(disturbed: DisturbedNight, undisturbed: Rows) -> None:
    check_night(disturbed.site, undisturbed, disturbed.curves)
