"""Day's work on the store: each step by itself, and what it leaves."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from nightflow.config import Settings
from nightflow.service.maintenance import maintain
from nightflow.store.database import Database
from nightflow.store.writer import append
from tests.unit.store.builders import add_frame, columns, record, stars

NOON = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(root=tmp_path)


@pytest.fixture
def store(settings: Settings) -> Iterator[Database]:
    with Database(settings.store_url) as store:
        store.upgrade()
        frame = add_frame(store)
        for number in range(3):
            made = NOON - timedelta(days=90 - number)
            append(store, frame, record(f"plan {number}"), columns(*stars(5)), now=made)
        yield store


def states(rows: list[dict[str, str]]) -> dict[str, str]:
    return {row["step"]: row["state"] for row in rows}


def test_every_step_is_done_and_says_what(settings: Settings, store: Database) -> None:
    rows = maintain(settings, store, now=NOON, shrink=True)
    assert states(rows) == dict.fromkeys(("backup", "tidy", "prune", "vacuum", "check"), "done")
    said = {row["step"]: row["what"] for row in rows}
    # Of three versions the current one and the one before it stay.
    assert said["prune"] == "5 measurements of 1 superseded reductions deleted"
    (copy,) = (settings.root / "backups").iterdir()
    assert str(copy) in said["backup"]
    with Database(f"sqlite:///{copy}") as restored, restored.session() as session:
        # The backup comes first: what is pruned by mistake is in it.
        assert session.connection().execute(text("SELECT count(*) FROM measurement")).scalar() == 15


def test_old_backups_go_when_the_new_one_is_whole(settings: Settings, store: Database) -> None:
    for day in range(5):
        maintain(settings, store, now=NOON + timedelta(days=day), keep_backups=2)
    names = sorted(file.name for file in (settings.root / "backups").iterdir())
    assert names == ["store-20260604T120000.sqlite", "store-20260605T120000.sqlite"]
    assert "backup" not in states(maintain(settings, store, now=NOON, keep_backups=0))


def test_what_is_not_a_backup_of_ours_stays(settings: Settings, store: Database) -> None:
    folder = settings.root / "backups"
    folder.mkdir()
    for name in ("store-of-old-telescope.dump", "notes.txt"):
        (folder / name).write_text("mine")
    maintain(settings, store, now=NOON, keep_backups=1)
    assert (folder / "notes.txt").exists()
    assert (folder / "store-of-old-telescope.dump").exists()


def test_a_backup_that_fails_deletes_none_and_keeps_nothing_from_being_done(
    settings: Settings, store: Database
) -> None:
    maintain(settings, store, now=NOON, keep_backups=1)
    (settings.root / "backups" / "store-20260602T120000.sqlite").write_text("in the way")
    rows = maintain(settings, store, now=NOON + timedelta(days=1), keep_backups=1)
    assert states(rows) == {"backup": "failed", "tidy": "done", "prune": "done", "check": "done"}
    assert "is there already" in rows[0]["what"]
    assert (settings.root / "backups" / "store-20260601T120000.sqlite").exists()


def test_a_store_that_disagrees_with_itself_is_a_failure_with_its_mend(
    settings: Settings, store: Database
) -> None:
    with store.write() as session:
        session.connection().execute(text("UPDATE source SET n_obs = 77"))
    row = maintain(settings, store, now=NOON)[-1]
    assert row["state"] == "failed"
    assert "nightflow store check --mend" in row["what"]
