"""What can go wrong with one frame; each case delivers its light in the end."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.conftest import wait_until
from tests.faults.mounts import insert, unmount
from tests.faults.site import Site

__all__ = ["CASES", "Case"]


@dataclass(frozen=True)
class Case:
    """One way in which a frame comes.

    Attributes
    ----------
    name : str
    disturb : callable
        Delivers a light; raises where the service did not behave meanwhile.
    states : tuple of str
        Of the exposures that come of it, in their order.
    """

    name: str
    disturb: Callable[[Site, Path], None]
    states: tuple[str, ...] = ("done",)


def truncated_then_completed(site: Site, light: Path) -> None:
    """A copy that broke off stays short for so long that it is taken as it is; then it is made whole."""
    content, target = light.read_bytes(), site.incoming / light.name
    target.write_bytes(content[: len(content) // 3])
    site.wait_for(light.name, "rejected")
    target.write_bytes(content)


def slow_write(site: Site, light: Path) -> None:
    content = light.read_bytes()
    step = len(content) // 8 + 1
    with (site.incoming / light.name).open("wb") as file:
        for start in range(0, len(content), step):
            assert site.states(light.name) == [], "taken half-written"
            file.write(content[start : start + step])
            file.flush()
            time.sleep(0.4)


def rename_storm(site: Site, light: Path) -> None:
    """Temporary names that are passed over, names of finished frames that last for a moment, and a pipe."""
    os.mkfifo(site.incoming / "pipe.fits")
    path = Path(shutil.copy(light, site.incoming / f".{light.name}.Xy12Zq"))
    for name in (f"{light.name}.part", "a.fits", "b.fits", "c.fits", ".hidden.fits", "d.fits", light.name):
        path = path.rename(site.incoming / name)
        time.sleep(0.15)


def delivered_again(site: Site, light: Path) -> None:
    """By another way, under another name, and once more over itself."""
    site.deliver(light)
    site.wait_for(light.name, "done")
    site.deliver(light)
    shutil.copy(light, site.incoming / "again.fits")
    site.wait_for("again.fits", "duplicate")


def changed_content(site: Site, light: Path) -> None:
    """A file of the same moment takes the place of one that is reduced already, which is retired."""
    content = bytearray(light.read_bytes())
    pixels = len(content) // 2
    content[pixels : pixels + 200] = bytes(200)
    (site.incoming / light.name).write_bytes(content)
    site.wait_for(light.name, "done")
    site.deliver(light)


def deleted_while_queued(site: Site, light: Path) -> None:
    target = site.incoming / light.name
    shutil.copy2(light, target)
    wait_until(lambda: site.states(light.name), 240, f"{light.name} to be received")
    target.unlink()
    time.sleep(6)
    shutil.copy2(light, target)


def unreadable(site: Site, light: Path) -> None:
    """Until somebody mends its rights; status and log name it, and nothing waits for it."""
    hidden = site.incoming / f".{light.name}.part"
    shutil.copy(light, hidden)
    hidden.chmod(0)
    target = hidden.rename(site.incoming / light.name)
    said = f"{light.name}: cannot be read: Permission denied; it is taken when it can be read"
    site.tells(said)
    assert site.states(light.name) == []
    time.sleep(6)  # for the next sign of life
    assert "Permission denied" in site.command("status").stdout
    target.chmod(0o644)


def folder_made_anew(site: Site, light: Path) -> None:
    """A disk that goes and comes back: its folder is another one then."""
    site.disk.rename(site.root / "disk/gone")
    site.tells(f"{site.disk}: no events from here")
    site.disk.mkdir()
    shutil.copy(light, site.disk)
    site.tells(f"{site.disk}: it is there (again)")


def events_overflow(site: Site, light: Path) -> None:
    """More happens than the system keeps for a watcher that is not looking; the light's own event is lost."""
    assert site.process is not None
    told = "more files landed at once than the system tells of"
    before = site.log.count(told)
    room = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    site.process.send_signal(signal.SIGSTOP)
    try:
        for number in range(room // 3 + 1):  # each is created, opened and closed, and goes
            name = site.incoming / f"{number}.part"
            name.touch()
            name.unlink()
        site.deliver(light)
    finally:
        site.process.send_signal(signal.SIGCONT)
    site.tells(told, times=before + 1)


def card_pulled_and_put_back(site: Site, light: Path) -> None:
    """A card is in, is pulled out, gets the light while it is away, and is put in again."""
    content = site.root / "content"
    content.mkdir()
    if not insert(content, site.card):
        shutil.copy(light, site.card)
        pytest.skip("this process may not mount anything")
    told = f"{site.card}: it is there (again)"
    site.tells(told)
    unmount(site.card)
    site.tells(told, times=2)
    shutil.copy(light, content)
    assert insert(content, site.card)
    site.tells(told, times=3)


CASES = (
    Case("truncated then completed", truncated_then_completed, ("rejected", "done")),
    Case("slow write", slow_write),
    Case("rename storm", rename_storm),
    Case("re-delivery", delivered_again),
    Case("changed content", changed_content, ("rejected", "done")),
    Case("deleted while queued", deleted_while_queued),
    Case("unreadable", unreadable),
    Case("folder removed and made anew", folder_made_anew),
    Case("folder unmounted and mounted again", card_pulled_and_put_back),
    Case("inotify overflow", events_overflow),
)
