"""What can go wrong with the service and with what is around it, in the night that all cases share.

Those that need a light of their own have one of the first four; see `FIRST_OF_CASES`.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import wait_until
from tests.faults import made
from tests.faults.mounts import is_mounted
from tests.faults.outside import fill
from tests.faults.site import Site

__all__ = ["AT_FIRST", "FIRST_OF_CASES", "MEANWHILE", "N_TINY", "STRIKES", "deliver_burst"]

FIRST_OF_CASES = 4
"""Number of the light from which on each belongs to a case of `tests.faults.cases`."""
N_TINY = 100
"""Files that come at once."""
STRIKES = (
    "kill-before-calibrate",
    "kill-after-measure",
    "kill-before-solve",
    "kill-after-flux",
    "kill-after-append",
    "kill-after-conclude",
    "kill-before-products",
    "memory-before-measure",
)
"""A worker is killed at each step, and is refused memory at one."""


def missing_master(site: Site) -> None:
    """A light comes before the night's flats, and the first of those was taken with the lamp off."""
    light = site.frames("light")[0]
    site.deliver(light)
    site.wait_for(light.name, "held")
    made.bad_flat(site.frames("flat")[0], site.frames("bias")[0], site.incoming / "lamp-off.fits")
    site.deliver(*site.frames("flat"))
    site.wait_for(light.name, "done")


def bad_flat(site: Site) -> None:
    """The flat without light is in no master."""
    site.wait_for("lamp-off.fits", "done")
    used = "SELECT n_inputs FROM master WHERE kind = 'flat' AND state <> 'rejected'"
    assert {number for (number,) in site.query(used)} == {len(site.frames("flat"))}


def service_killed(site: Site) -> None:
    """With a light in work."""
    _, first, second, *_ = site.frames("light")
    site.deliver(first)
    wait_until(lambda: site.look("SELECT 1 FROM exposure WHERE state = 'reducing'"), 240, "a frame in work")
    site.kill()
    site.deliver(second)
    site.start()
    # From now on it hears of what happens in its folders.
    wait_until(lambda: site.states(second.name), 240, "what came meanwhile to be received")


def dome_closed(site: Site) -> None:
    """A light without a star waits for nothing that could come, and no light curve knows it."""
    name = "dome-closed.fits"
    made.dome_closed(site.frames("light")[1], site.frames("dark")[0], site.incoming / name)
    site.wait_for(name, "held")
    [(reason,)] = site.query("SELECT reason FROM exposure WHERE path LIKE :path", path=f"%/{name}")
    assert "star" in reason


def burst(site: Site) -> None:
    deliver_burst(site, N_TINY)


def deliver_burst(site: Site, number: int) -> None:
    """Let files land at once, faster than they can be taken; each is received, once."""
    files = made.tiny_biases(site.frames("bias")[0], number, site.root / "tiny")
    for file in files:
        file.rename(site.incoming / file.name)
    done = "SELECT count(*), count(DISTINCT path) FROM exposure WHERE path LIKE '%/tiny-%' AND state = 'done'"
    wait_until(
        lambda: site.look(done) == [(number, number)], 60 + 0.3 * number, f"{number} files to be taken"
    )


def two_watchers(site: Site) -> None:
    second = site.command("watch", check=False)
    assert second.returncode == 1
    assert "another `nightflow watch` works on this ledger" in second.stderr


def wrong_settings_on_reload(site: Site) -> None:
    assert site.process is not None
    right = site.settings.read_text()
    site.settings.write_text(right.replace("sweep_seconds", "swept_seconds"))
    site.process.send_signal(signal.SIGHUP)
    site.tells("new settings not taken, the old ones stay")
    site.settings.write_text(right)
    site.process.send_signal(signal.SIGHUP)
    site.tells("new settings taken")


def clock_stepped(site: Site) -> None:
    """Back by an hour, on by two, and right again."""
    if site.clock is None:
        pytest.skip("no C compiler to make a clock with that can be set")
    for step in (-3600, 3600, 0):
        site.clock.set(step)
        time.sleep(2)


def database_locked(site: Site) -> None:
    with site.locked():
        time.sleep(3)


def disk_full(site: Site) -> None:
    """That of store, masters and products, because of somebody else's file; frames land on another one."""
    if not is_mounted(site.store):
        pytest.skip("this process may not mount anything")
    others = site.store / "somebody's"
    try:
        fill(others)
        # A copy of what is known: all others may be through already, and nobody would write anything.
        shutil.copy(site.frames("bias")[0], site.incoming / "copy-on-a-full-disk.fits")
        site.tells("disk full")
    finally:
        others.unlink()
    site.wait_for("copy-on-a-full-disk.fits", "duplicate")


def products_read_only(site: Site) -> None:
    """With a light of its own, which is delivered meanwhile."""
    light = site.frames("light")[3]
    folders = [site.products, *(path for path in site.products.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        site.deliver(light)
        site.wait_for(light.name, "done")
        told = "SELECT 1 FROM exposure WHERE path LIKE :path AND reason LIKE '%products not written%'"
        wait_until(lambda: site.look(told, path=f"%/{light.name}"), 240, "the loss of products to be told")
    finally:
        for folder in folders:
            folder.chmod(0o755)


def worker_killed(site: Site) -> None:
    """Whatever it has in work; what saw it is tried again. The next light finds the master flat damaged."""
    [flat] = site.query("SELECT path FROM master WHERE kind = 'flat' AND path <> '' AND state <> 'rejected'")
    damage(site.masters / flat[0])
    workers = site.workers()
    assert workers, "no worker is there"
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: set(site.workers()) - set(workers), 240, "another worker to be there")


def damage(file: Path) -> None:
    with file.open("r+b") as content:
        content.seek(file.stat().st_size // 2)
        content.write(b"\xff" * 4096)


def corrupt_master(site: Site) -> None:
    site.tells("it is built again")


def killed_at_each_step(site: Site) -> None:
    wait_until(lambda: all(map(site.struck, STRIKES)), 240, "a worker to be struck at each step")


def out_of_memory(site: Site) -> None:
    """The worker says it itself: its service may be killed at that moment."""
    site.tells("measure: not enough memory")


AT_FIRST: dict[str, Callable[[Site], None]] = {
    "missing master that arrives later": missing_master,
    "bad flat": bad_flat,
    "service killed": service_killed,
}
"""Before anything else, one after the other."""

MEANWHILE: dict[str, Callable[[Site], None]] = {
    "two watchers": two_watchers,
    "database locked": database_locked,
    "clock stepped": clock_stepped,
    "configuration error on reload": wrong_settings_on_reload,
    "disk full": disk_full,
    "products read-only": products_read_only,
    "worker killed": worker_killed,
    "dome closed": dome_closed,
    "corrupt master": corrupt_master,
    "many files at once": burst,
    "worker killed at each step": killed_at_each_step,
    "out of memory in a worker": out_of_memory,
}
"""One after the other, while the cases of single frames run."""
