"""Listing the watched folders."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from nightflow.sensor.sweep import Listing, sweep


def put(path: Path, modified: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    os.utime(path, (modified, modified))
    return path


def test_nested_candidates_come_oldest_first(tmp_path: Path) -> None:
    light = put(tmp_path / "a/light.fits", 300)
    bias = put(tmp_path / "z/deep/bias.fits", 100)
    flat = put(tmp_path / "flat.FIT", 200)
    put(tmp_path / ".hidden/x.fits", 50)
    put(tmp_path / "a/readme.txt", 50)
    put(tmp_path / "products/x.fits", 50)
    assert sweep(tmp_path, [tmp_path / "products"]) == [bias, flat, light]


def test_a_subfolder_alone(tmp_path: Path) -> None:
    put(tmp_path / "a/one.fits", 1)
    two = put(tmp_path / "b/two.fits", 2)
    assert sweep(tmp_path, within=tmp_path / "b") == [two]


def test_an_absent_folder_is_told_and_holds_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert sweep(tmp_path / "not-mounted") == []
    assert "not-mounted" in caplog.text


def test_whether_the_watched_folder_itself_can_be_listed_is_known(tmp_path: Path) -> None:
    absent, there = Listing(tmp_path / "not-mounted"), Listing(tmp_path)
    inside = Listing(tmp_path, within=(tmp_path / "gone",))
    assert absent.fault is None
    for listing in (absent, there, inside):
        assert list(listing.steps()) == [] or listing is there
    assert absent.fault == "cannot be listed: No such file or directory"
    assert there.fault == ""
    assert inside.fault is None, "of the folder itself a subfolder says nothing"


def test_folders_pipes_and_dangling_links_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "folder.fits").mkdir()
    os.mkfifo(tmp_path / "pipe.fits")
    (tmp_path / "link.fits").symlink_to(tmp_path / "gone.fits")
    assert sweep(tmp_path) == []
