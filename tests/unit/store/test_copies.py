"""The paths of a content, and how they change places."""

from __future__ import annotations

from datetime import timedelta

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


def test_times_of_files_stay_with_their_paths(database: Database) -> None:
    """Else a file that nobody has read since would pass for known, or one that was read for new."""
    first = receive(database, "/latest.fits", sha("x"), 1, now=START, times=(1, 2)).exposure_id
    copy = receive(database, "/f1.fits", sha("x"), 1, now=START, times=(3, 4)).exposure_id

    def times() -> dict[str, tuple[int | None, int | None]]:
        rows = [get_exposure(database, one) for one in (first, copy)]
        return {row.path: (row.mtime_ns, row.ctime_ns) for row in rows if row is not None}

    assert move(database, sha("x"), "/latest.fits", "/f1.fits")
    assert times() == {"/latest.fits": (1, 2), "/f1.fits": (3, 4)}
    assert move(database, sha("x"), "/f1.fits", "/f2.fits")
    assert times() == {"/latest.fits": (1, 2), "/f2.fits": (None, None)}
    receive(database, "/f2.fits", sha("x"), 1, now=START, times=(5, 6))
    assert times() == {"/latest.fits": (1, 2), "/f2.fits": (5, 6)}


def test_what_was_moved_by_another_process_is_left_there(database: Database) -> None:
    received(database, "/latest.fits", "x")
    assert move(database, sha("x"), "/latest.fits", "/f1.fits")
    assert not move(database, sha("x"), "/latest.fits", "/f2.fits")
    assert paths_of(database, sha("x")) == ["/f1.fits"]


def test_copies_of_what_a_file_overwrote(database: Database) -> None:
    for path, content in (("/a", "x"), ("/b", "x"), ("/a", "lonely"), ("/a", "new"), ("/c", "new")):
        received(database, path, content)
    [copy] = copies_of_displaced(database, "/a", sha("new"))
    assert (copy.sha256, copy.path) == (sha("x"), "/b")
    assert copies_of_displaced(database, "/b", sha("new")) == []


def test_what_overwrites_looks_after_the_last_few_and_one_copy_a_path(database: Database) -> None:
    """As of two fixed names that hold the same frame, and no third: each frame adds one."""
    for number in range(40):
        received(database, "/latest.fits", f"frame {number}")
        received(database, "/web/latest.fits", f"frame {number}")
    [copy] = copies_of_displaced(database, "/latest.fits", sha("new"))
    assert (copy.sha256, copy.path) == (sha("frame 39"), "/web/latest.fits")
    for number in range(40):
        received(database, f"/filed/{number}.fits", f"frame {number}")
    assert len(copies_of_displaced(database, "/latest.fits", sha("new"))) < 10


def test_what_lay_at_a_path_that_holds_another_file_now_is_kept_on_record(database: Database) -> None:
    received(database, "/latest.fits", "x")
    assert move(database, sha("x"), "/latest.fits", "/f1.fits", keep=True)
    assert paths_of(database, sha("x")) == ["/f1.fits", "/latest.fits"]
    assert move(database, sha("x"), "/f1.fits", "/f2.fits")
    assert move(database, sha("x"), "/f2.fits", "/latest.fits", keep=True)
    assert paths_of(database, sha("x")) == ["/latest.fits", "/f2.fits"]


def test_a_copy_that_changes_places_is_no_younger_than_what_lay_there(database: Database) -> None:
    """A file of another content may have come there since: it must not pass for known."""
    received(database, "/latest.fits", "x")
    copy = receive(database, "/f1.fits", sha("x"), 1, now=START + timedelta(hours=1)).exposure_id
    assert move(database, sha("x"), "/latest.fits", "/f1.fits")
    row = get_exposure(database, copy)
    assert row is not None
    assert (row.path, row.received_at) == ("/latest.fits", START)


def test_what_is_not_known(database: Database) -> None:
    received(database, "/a", "x")
    received(database, "/a", "y")
    assert original_of(database, sha("z")) is None
    assert paths_of(database, sha("z")) == []
    assert has_others(database, "/a", sha("x"))
    assert not has_others(database, "/b", sha("x"))
