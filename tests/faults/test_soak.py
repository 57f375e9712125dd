"""Faults that last: each has a night of its own, and the light curves of the undisturbed one."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from tests.e2e.conftest import wait_until
from tests.faults.site import Rows, Site, check_night
from tests.unit.store.conftest import *  # noqa: F403  (a Postgres)

pytestmark = [pytest.mark.e2e, pytest.mark.soak, pytest.mark.timeout(900)]

KILLS = 40


@pytest.fixture
def new_site(night: Path, tmp_path: Path) -> Iterator[Callable[..., Site]]:
    sites: list[Site] = []

    def make(url: str = "") -> Site:
        sites.append(Site(tmp_path, night, url))
        return sites[-1]

    yield make
    for site in sites:
        site.kill()


def conclude(site: Site, undisturbed: Rows) -> None:
    site.wait_until_settled([path.name for path in site.frames("bias", "dark", "flat", "light")], seconds=300)
    site.stop()
    check_night(site, undisturbed, site.finish())


def deliver_slowly(site: Site, seconds: float) -> threading.Thread:
    """Let the night's frames come one after the other."""

    def deliver() -> None:
        for path in site.frames("bias", "dark", "flat", "light"):
            site.deliver(path)
            time.sleep(seconds)

    thread = threading.Thread(target=deliver)
    thread.start()
    return thread


def test_service_killed_at_random(new_site: Callable[..., Site], undisturbed: Rows) -> None:
    site, chance = new_site(), random.Random(20260101)
    coming = deliver_slowly(site, 1.0)
    for _ in range(KILLS):
        site.start()
        time.sleep(chance.uniform(0.5, 9.0))
        site.kill()
    coming.join()
    site.start()
    conclude(site, undisturbed)


def test_database_locked_for_longer_than_anybody_waits(
    new_site: Callable[..., Site], undisturbed: Rows
) -> None:
    site = new_site()
    site.start()
    coming = deliver_slowly(site, 0.5)
    wait_until(lambda: site.look("SELECT 1 FROM exposure WHERE state = 'done'"), 60, "the night to begin")
    with site.locked():
        wait_until(lambda: "the store is away" in site.log, 60, "the lock to be told")
        time.sleep(10)
    wait_until(lambda: "the store is back" in site.log, 90, "the end of the lock to be told")
    coming.join()
    conclude(site, undisturbed)
    assert site.log.count("the store is away") <= 2, "said at every attempt"


# Here, not in the service, some connections of the time of the outage are closed by the collector alone.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_database_gone_for_a_minute(
    new_site: Callable[..., Site], undisturbed: Rows, empty_postgres: str
) -> None:
    """All sessions are cut off and new ones refused, as while the server is restarted."""
    site = new_site(empty_postgres)
    site.start()
    coming = deliver_slowly(site, 0.5)
    wait_until(lambda: site.look("SELECT 1 FROM exposure WHERE state = 'done'"), 60, "the night to begin")
    allow(empty_postgres, connections=False)
    wait_until(lambda: "the store is away" in site.log, 60, "the loss to be told")
    time.sleep(20)
    allow(empty_postgres, connections=True)
    wait_until(lambda: "the store is back" in site.log, 60, "the return to be told")
    wait_until(lambda: "lock taken again" in site.log, 30, "the lock to be taken again")
    second = site.command("watch", check=False)
    assert (second.returncode, "another `nightflow watch`" in second.stderr) == (1, True)
    coming.join()
    conclude(site, undisturbed)


def allow(url: str, *, connections: bool) -> None:
    database = make_url(url).database
    with create_engine(
        make_url(url).set(database="postgres"), isolation_level="AUTOCOMMIT"
    ).connect() as server:
        server.execute(text(f"ALTER DATABASE {database} ALLOW_CONNECTIONS {connections}"))
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"
        if not connections:
            server.execute(text(others), {"name": database})
