"""Which files `run` takes, and what the ledger makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightflow.errors import ConfigurationError, RetryLater
from nightflow.pipeline.register import find_files, register, register_all
from nightflow.store.models import State
from nightflow.store.overview import counts
from tests.unit.pipeline.station import START, Station


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_fits_files_of_all_folders_below_sorted(tmp_path: Path) -> None:
    names = ["b/2.FIT", "b/10.fits.gz", "a.fits", "c/d/e.fts", "c/f.fits.fz"]
    touch(*(tmp_path / name for name in names))
    touch(*(tmp_path / name for name in ["x.txt", ".a.fits.part", ".hidden/a.fits", "log.tar.gz"]))
    found = [str(path.relative_to(tmp_path)) for path in find_files([tmp_path])]
    assert found == ["a.fits", "b/10.fits.gz", "b/2.FIT", "c/d/e.fts", "c/f.fits.fz"]


def test_a_named_file_is_taken_whatever_it_is_called_and_once(tmp_path: Path) -> None:
    touch(tmp_path / "frame.dat", tmp_path / "a.fits")
    paths = [tmp_path / "frame.dat", tmp_path, tmp_path / "sub" / ".." / "a.fits"]
    (tmp_path / "sub").mkdir()
    assert find_files(paths) == [tmp_path / "frame.dat", tmp_path / "a.fits"]


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nowhere: no such file or folder"):
        find_files([tmp_path / "nowhere"])


def test_the_same_content_again_is_a_duplicate(station: Station) -> None:
    reducer = station.reducer()
    first = station.frame("one.fits")
    copy = station.raw / "copy.fits"
    copy.write_bytes(first.read_bytes())
    entries = [
        register(reducer.database, path, priority=20, now=START) for path in (first, first, copy, copy)
    ]
    assert [entry.is_new for entry in entries] == [True, False, True, False]
    assert [entry.state for entry in entries] == [State.RECEIVED] * 2 + [State.DUPLICATE] * 2
    assert counts(reducer.database)[State.RECEIVED] == 1


def test_a_file_that_went_away_is_tried_later(station: Station) -> None:
    with pytest.raises(RetryLater, match=r"gone\.fits"):
        register(station.reducer().database, station.raw / "gone.fits", priority=20, now=START)


def test_a_file_that_vanishes_while_many_are_received_is_told_and_left_out(
    station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    database = station.reducer().database
    first, gone, last = station.frame("1.fits"), station.frame("2.fits"), station.frame("3.fits")
    gone.unlink()
    assert len(register_all(database, [first, gone, last, first], priority=20)) == 2
    assert counts(database)[State.RECEIVED] == 2
    assert [record.getMessage().partition(": gone")[0] for record in caplog.records] == [str(gone)]


def test_a_file_that_is_there_and_cannot_be_read_is_not_left_out(station: Station) -> None:
    loop = station.raw / "loop.fits"
    loop.symlink_to(loop)
    with pytest.raises(RetryLater, match=r"loop\.fits: cannot be read: Too many levels"):
        register_all(station.reducer().database, [loop], priority=20)
