"""The paths of a content, and how they change places."""

from __future__ import annotations

from nightflow.store.copies import copies_of_displaced, has_others, move, original_of, paths_of
from nightflow.store.database import Database
from nightflow.store.ledger import receive
from nightflow.store.models import State
from nightflow.store.overview import get_exposure
from tests.unit.store.builders import START, sha


def received(database: Database, path: str, content: str) -> int:
    return receive(database, path, sha(content), 1, now=START).exposure_id


def test_a_copy_changes_places_with_its_original(database: Database) -> None:
    first = received(database, "/latest.fits", "x")
    copy = received(database, "/f1.fits", "x")
    other = received(database, "/backup.fits", "x")
    assert paths_of(database, sha("x")) == ["/latest.fits", "/f1.fits", "/backup.fits"]
    assert move(database, sha("x"), "/latest.fits", "/f1.fits")
    assert paths_of(database, sha("x")) == ["/f1.fits", "/latest.fits", "/backup.fits"]
    for duplicate in (copy, other):
        row = get_exposure(database, duplicate)
        assert row is not None
        assert (row.state, row.reason) == (
            State.DUPLICATE,
            f"same content as /f1.fits (exposure {first})",
        )


def test_what_was_moved_by_another_process_is_left_there(database: Database) -> None:
    received(database, "/latest.fits", "x")
    assert move(database, sha("x"), "/latest.fits", "/f1.fits")
    assert not move(database, sha("x"), "/latest.fits", "/f2.fits")
    assert paths_of(database, sha("x")) == ["/f1.fits"]


def test_copies_of_what_a_file_overwrote(database: Database) -> None:
    for path, content in (("/a", "x"), ("/b", "x"), ("/a", "lonely"), ("/a", "new"), ("/c", "new")):
        received(database, path, content)
    assert copies_of_displaced(database, "/a", sha("new")) == [(sha("x"), "/b")]
    assert copies_of_displaced(database, "/b", sha("new")) == []


def test_what_is_not_known(database: Database) -> None:
    received(database, "/a", "x")
    received(database, "/a", "y")
    assert original_of(database, sha("z")) is None
    assert paths_of(database, sha("z")) == []
    assert has_others(database, "/a", sha("x"))
    assert not has_others(database, "/b", sha("x"))
