"""The oldest products make room; nothing else is ever removed."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

import pytest

from nightflow.products.quota import LIST_SECONDS, NoRoom, Quota

KB = 1000


def none(paths: Collection[str]) -> set[str]:
    return set()


def write(folder: Path, name: str, age: float, size: int = KB) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    os.utime(path, (1e9 - age, 1e9 - age))
    return path


def left(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def test_the_oldest_go_first_and_no_more_than_must(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = [f"2026-01-0{night}/d-e{night}-f1.{end}" for night in (1, 2, 3) for end in ("fits", "png")]
    files = [write(tmp_path, name, age=100 - i) for i, name in enumerate(names)]
    caplog.set_level("INFO")
    removed = Quota(tmp_path, 7 * KB, received=none).make_room(3 * KB)
    assert removed == files[:2]
    assert left(tmp_path) == set(names[2:])
    assert "the oldest 2 products removed" in caplog.text
    assert "2026-01-01/d-e1-f1.fits to 2026-01-01/d-e1-f1.png" in caplog.text


def test_where_there_is_room_nothing_goes(tmp_path: Path) -> None:
    write(tmp_path, "n/d-e1-f1.fits", age=1)
    assert Quota(tmp_path, 2 * KB, received=none).make_room(KB) == []
    assert Quota(tmp_path / "not-there-yet", 2 * KB, received=none).make_room(KB) == []


def test_only_products_of_frames_are_removed(tmp_path: Path) -> None:
    """Never masters, raw frames, reports, or what a link points to."""
    others = [
        "n/night.csv",
        "n/report-e1.png",
        "n/flat.fits",
        "n/d-e1-f1.fits.tmp",
        "d-e1-f1.fits",
        "n/m/d-e1-f1.fits",
    ]
    for name in others:
        write(tmp_path, name, age=1000)
    elsewhere = write(tmp_path.parent / "elsewhere", "d-e7-f7.fits", age=1000)
    (tmp_path / "n/link-e1-f1.fits").symlink_to(elsewhere)
    (tmp_path / "linked").symlink_to(elsewhere.parent)
    write(tmp_path, "n/d-e2-f2.fits.fz", age=1)
    quota = Quota(tmp_path, KB, received=none)
    assert [path.name for path in quota.make_room(KB)] == ["d-e2-f2.fits.fz"]
    assert {*others, "n/link-e1-f1.fits", "linked"} <= left(tmp_path) | {"linked"}
    assert elsewhere.exists()


def test_a_product_that_was_received_as_a_raw_frame_stays(tmp_path: Path) -> None:
    raw = write(tmp_path, "n/d-e1-f1.fits", age=100)
    write(tmp_path, "n/d-e2-f2.fits", age=1)
    quota = Quota(tmp_path, 2 * KB, received=lambda paths: {str(raw)} & set(paths))
    assert [path.name for path in quota.make_room(KB)] == ["d-e2-f2.fits"]


def test_too_small_a_quota_names_the_key(tmp_path: Path) -> None:
    with pytest.raises(
        NoRoom, match=r"products\.quota = 1e-06 \(GB\) has no room for 2e-06 GB; make it larger"
    ):
        Quota(tmp_path, KB, received=none).make_room(2 * KB)


def test_what_is_written_counts_before_the_folder_is_listed_again(tmp_path: Path) -> None:
    now = [0.0]
    quota = Quota(tmp_path, 3 * KB, received=none, clock=lambda: now[0])
    for number in range(3):
        assert quota.make_room(KB) == []
        write(tmp_path, f"n/d-e{number}-f1.fits", age=-number)
    assert [path.name for path in quota.make_room(KB)] == ["d-e0-f1.fits"]


def test_what_others_write_counts_after_a_while(tmp_path: Path) -> None:
    now = [0.0]
    quota = Quota(tmp_path, 3 * KB, received=none, clock=lambda: now[0])
    assert quota.make_room(KB) == []
    write(tmp_path, "n/other-e8-f8.fits", age=1, size=3 * KB)
    assert quota.make_room(KB) == [], "not listed yet"
    now[0] = LIST_SECONDS
    assert [path.name for path in quota.make_room(KB)] == ["other-e8-f8.fits"]
