"""A night around which everything fails: nothing is lost, nothing doubled, the light curves are the same.

Its store is on a Postgres, and a Prefect server shows it, when there is one. The cases come one after the
other; each has lights of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Server, free_port, wait_until
from tests.faults.disturbed import DisturbedNight
from tests.faults.outside import (
    LIVE,
    allow,
    ask_a_silent_service,
    caught_up,
    open_runs,
    own_postgres,
    shown_by,
    states_of_lights,
)
from tests.faults.site import Rows, Site, check_night

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(900),
    # Here, not in the service, some connections of the time of an outage are closed by the collector alone.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

SECONDS = 120.0
"""That something may take at most."""
GONE_SECONDS = 5.0
"""So long a database is away; the soak's is away for a minute."""


@dataclass
class Around:
    """The service and what it stands on."""

    site: Site
    server: Server
    postgres: Any
    lights: Sequence[Path]

    def deliver(self, *numbers: int) -> None:
        self.site.deliver(*(self.lights[number] for number in numbers))

    def wait_for(self, number: int) -> None:
        self.site.wait_for(self.lights[number].name, "done", seconds=SECONDS)


def server_never_there(around: Around) -> None:
    """Until the first lights are done; then it comes, and is told of them once."""
    around.site.deliver(*around.site.frames("bias", "dark", "flat"))
    around.deliver(0, 1)
    around.wait_for(0)
    around.wait_for(1)
    around.server.start()
    wait_until(lambda: caught_up(around.site, around.server), SECONDS, "the catch-up run")
    assert len(caught_up(around.site, around.server)) == 1


def server_killed_after_a_run(around: Around) -> None:
    """A light is done without it; when it is back nothing is open, and it shows the next light."""
    server = around.server
    around.deliver(2)
    wait_until(lambda: "COMPLETED" in states_of_lights(server), SECONDS, "a light's run to end")
    wait_until(lambda: not open_runs(server), SECONDS, "all runs to end")
    before = len(caught_up(around.site, server))
    server.kill()
    around.deliver(3)
    around.wait_for(3)
    server.start()
    wait_until(lambda: len(caught_up(around.site, server)) > before, SECONDS, "the catch-up run")
    around.deliver(4)
    around.wait_for(4)
    wait_until(lambda: not open_runs(server), SECONDS, "all runs to be closed")
    shown = {run["name"].split()[0] for run in server.find("flow_runs", deployments=LIVE)}
    assert around.lights[4].name in shown


def postgres_restarted(around: Around) -> None:
    """With lights in work."""
    around.deliver(5, 6)
    at_work = "SELECT 1 FROM exposure WHERE state = 'reducing'"
    wait_until(lambda: around.site.look(at_work), SECONDS, "a light in work")
    around.postgres.stop()
    around.postgres.ensure_postgres_running()
    around.site.tells("lock taken again", seconds=SECONDS)


def database_gone(around: Around) -> None:
    """All sessions are cut off and new ones refused; a light lands meanwhile."""
    site, url = around.site, around.postgres.get_uri(database="nights", driver="psycopg")
    taken, back = (site.log.count(text) for text in ("lock taken again", "the store is back"))
    around.deliver(7)
    wait_until(lambda: site.states(around.lights[7].name), SECONDS, "the light to be received")
    allow(url, connections=False)
    try:
        around.deliver(8)
        time.sleep(GONE_SECONDS)
    finally:
        allow(url, connections=True)
    site.tells("the store is back", times=back + 1, seconds=SECONDS)
    site.tells("lock taken again", times=taken + 1, seconds=SECONDS)


def catalogue_service_hung(around: Around) -> None:
    """No frame asks such a service: the night goes on beside a command that waits for it."""
    around.deliver(*range(9, len(around.lights)))
    ask_a_silent_service(around.site)


CASES: dict[str, Callable[[Around], None]] = {
    "Prefect server never there": server_never_there,
    "Prefect server killed after a run": server_killed_after_a_run,
    "Postgres restarted": postgres_restarted,
    "database gone for 60 s": database_gone,
    "catalogue service hung": catalogue_service_hung,
}


@pytest.fixture(scope="module")
def disturbed(night: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DisturbedNight]:
    """The night with all its faults, concluded."""
    root = tmp_path_factory.mktemp("outside")
    server = Server(home=tmp_path_factory.mktemp("outside-prefect"), port=free_port())
    with own_postgres() as postgres:
        postgres.psql("CREATE DATABASE nights;")
        url = postgres.get_uri(database="nights", driver="psycopg")
        site = Site(root, night, url, **shown_by(server.url, root))
        told = DisturbedNight(site)
        around = Around(site, server, postgres, site.frames("light"))
        site.start()
        try:
            for name, disturb in CASES.items():
                told.note(name, partial(disturb, around))
            told.conclude()
            yield told
        finally:
            site.close()
            server.kill()


@pytest.mark.parametrize("name", [*CASES, "settling", "stopping"])
def test_the_service(name: str, disturbed: DisturbedNight) -> None:
    disturbed.check(name)
    assert disturbed.curves, "the night has no light curves"


def test_the_night_is_that_of_the_undisturbed_one(disturbed: DisturbedNight, undisturbed: Rows) -> None:
    check_night(disturbed.site, undisturbed, disturbed.curves)
