"""The store is locked, away, restarted, or its disk is full, for longer than anybody waits."""

from __future__ import annotations

import time

import pytest

from tests.faults.mounts import mount_small
from tests.faults.outside import allow, fill, own_postgres
from tests.faults.soak import Soak, begin, counted, deliver_slowly
from tests.unit.store.conftest import *  # noqa: F403  (a Postgres)

pytestmark = [pytest.mark.e2e, pytest.mark.soak, pytest.mark.timeout(900)]


@pytest.mark.fault("database locked")
def test_database_locked_for_longer_than_anybody_waits(soak: Soak) -> None:
    site = soak.site()
    site.start()
    coming = deliver_slowly(site, 0.5)
    begin(site)
    with site.locked():
        site.tells("the store is away")
        time.sleep(10)
    site.tells("the store is back")
    coming.join()
    assert site.log.count("the store is away") <= 2, "said at every attempt"
    soak.check_night(site)


# Here, not in the service, some connections of the time of the outage are closed by the collector alone.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.fault("database gone for 60 s")
def test_database_gone_for_a_minute(soak: Soak, empty_postgres: str) -> None:
    """All sessions are cut off and new ones refused."""
    site, seconds = soak.site(empty_postgres), counted(60)
    site.start()
    coming = deliver_slowly(site, 0.5)
    begin(site)
    allow(empty_postgres, connections=False)
    site.tells("the store is away")
    time.sleep(seconds)
    allow(empty_postgres, connections=True)
    site.tells("the store is back")
    site.tells("lock taken again")
    second = site.command("watch", check=False)
    assert (second.returncode, "another `nightflow watch`" in second.stderr) == (1, True)
    coming.join()
    soak.check_night(site)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.fault("Postgres restarted")
def test_postgres_restarted(soak: Soak) -> None:
    """The whole server, again and again, with frames in work."""
    with own_postgres() as postgres:
        site, times = soak.site(postgres.get_uri(driver="psycopg")), counted(5)
        site.start()
        coming = deliver_slowly(site, 1.5)
        begin(site)
        for number in range(times):
            postgres.stop()
            time.sleep(1)
            postgres.ensure_postgres_running()
            site.tells("lock taken again", times=number + 1)
        coming.join()
        soak.check_night(site, count=times)


@pytest.mark.fault("disk full")
def test_disk_full(soak: Soak) -> None:
    """That of store, masters and products; frames land on another one."""
    site = soak.site()
    if not mount_small(site.store, 160):
        pytest.skip("this process may not mount a small disk (tmpfs)")
    site.start()
    coming = deliver_slowly(site, 0.5)
    begin(site)
    fill(site.store / "somebody's")
    site.tells("disk full")
    time.sleep(5)
    (site.store / "somebody's").unlink()
    site.tells("the store is back")
    coming.join()
    soak.check_night(site)
