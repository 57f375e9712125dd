"""Room on the disk of the products: they neither take what is to stay free nor make up for others."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from nightflow.products import quota as quota_module
from nightflow.products.disk_room import keep_room
from nightflow.products.quota import NoRoom, Quota

MB = 10**6
ROOM_GIB = 1.0


class Disk:
    """A disk on which products lie, with so many bytes free beside them."""

    def __init__(self, folder: Path, free: int) -> None:
        self.folder = folder
        self.free = free
        self.kept_by_snapshots = False
        self._written = self._taken()

    def usage(self, _: object) -> SimpleNamespace:
        self._written = max(self._written, self._taken()) if self.kept_by_snapshots else self._taken()
        return SimpleNamespace(free=self.free - self._written)

    def _taken(self) -> int:
        return sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten products of a megabyte."""
    for number in range(10):
        path = tmp_path / "n" / f"d-e{number}-f1.fits"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(MB))
    return tmp_path


@pytest.fixture
def disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    """Raw frames have taken half of what is to stay free."""
    disk = Disk(folder, int(ROOM_GIB * 2**29))
    monkeypatch.setattr(shutil, "disk_usage", disk.usage)
    monkeypatch.setattr(quota_module, "FREED_SECONDS", 0.0)
    return disk


@pytest.fixture
def quota(folder: Path) -> Quota:
    return Quota(folder, 100 * MB, received=lambda _: ())


def left(folder: Path) -> int:
    return len(list(folder.rglob("*.fits")))


def test_what_raw_frames_have_taken_is_not_made_up_by_products(
    folder: Path, disk: Disk, quota: Quota
) -> None:
    """One goes for one that comes, which does not make the room less."""
    for number in range(3):
        keep_room(folder, MB, room_gib=ROOM_GIB, quota=quota)
        assert left(folder) == 9
        (folder / "n" / f"new-e{10 + number}-f1.fits").write_bytes(bytes(MB))
    assert left(folder) == 10


def test_up_to_the_room_that_stays_no_more_go_than_must(folder: Path, disk: Disk, quota: Quota) -> None:
    disk.free = int(ROOM_GIB * 2**30) + 10 * MB + MB // 2
    keep_room(folder, 2 * MB, room_gib=ROOM_GIB, quota=quota)
    assert left(folder) == 8
    assert disk.usage(folder).free >= ROOM_GIB * 2**30 + 2 * MB


def test_without_a_quota_nothing_goes(folder: Path, disk: Disk) -> None:
    with pytest.raises(NoRoom, match=r"GiB left on its disk, notify\.room_gib = 1 are to stay free"):
        keep_room(folder, MB, room_gib=ROOM_GIB)
    assert left(folder) == 10


def test_where_removing_frees_nothing_it_is_not_tried_again(
    folder: Path, disk: Disk, quota: Quota, caplog: pytest.LogCaptureFixture
) -> None:
    disk.usage(folder)
    disk.kept_by_snapshots = True
    for _ in range(5):
        with pytest.raises(NoRoom):
            keep_room(folder, MB, room_gib=ROOM_GIB, quota=quota)
    assert left(folder) == 9
    assert caplog.text.count("do snapshots keep them?") == 1
    disk.free += MB
    disk.kept_by_snapshots = False  # somebody has removed them
    keep_room(folder, MB, room_gib=ROOM_GIB, quota=quota)
    assert left(folder) == 8
