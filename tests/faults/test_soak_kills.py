"""Service and workers die, hang, and want for memory: often, and at every step."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

import pytest

from tests.e2e.conftest import wait_until
from tests.faults.soak import PATIENCE, Soak, begin, counted, deliver_slowly

pytestmark = [pytest.mark.e2e, pytest.mark.soak, pytest.mark.timeout(3600)]

KILLS = 200
LIFE_SECONDS = 7.0
"""Of the service, from its start to its end, on average; frames come as slowly as that makes the night."""
STEPS = (
    "identify",
    "calibrate",
    "measure",
    "solve",
    "flux",
    "append",
    "settle_frame",
    "conclude",
    "products",
)
CGROUPS = Path("/sys/fs/cgroup")


@pytest.mark.fault("service killed")
def test_service_killed_at_random(soak: Soak) -> None:
    """One time in five as it starts, else at work, over a night that lasts as long as that.

    A frame that was in work at eight of the deaths is given up, as one that kills its service would be; its
    reason names the way back, which is gone here.
    """
    site, chance, kills = soak.site(), random.Random(20260101), counted(KILLS)
    coming = deliver_slowly(site, kills * LIFE_SECONDS / len(site.frames("bias", "dark", "flat", "light")))
    at_work = 0
    for _ in range(kills):
        site.start()
        if chance.random() < 0.8:
            at_work += 1
            wait_until(lambda: site.log.count("watching ") >= at_work, PATIENCE, "it to watch")  # noqa: B023
        time.sleep(chance.uniform(0.0, 5.0))
        at_work = max(at_work, site.log.count("watching "))
        site.kill()
    coming.join()
    site.start()
    wait_until(
        lambda: site.log.count("watching ") > at_work, PATIENCE, "it to watch: before, no signal is heard"
    )
    names = [path.name for path in site.frames("bias", "dark", "flat", "light")]
    ended = {("done",), ("failed",)}
    wait_until(lambda: {tuple(site.states(name)) for name in names} <= ended, PATIENCE, "all to end")
    for (reason,) in site.query("SELECT reason FROM exposure WHERE state = 'failed'"):
        assert "`nightflow retry` tries it again" in reason
    site.command("retry", "--state", "failed")
    soak.check_night(site, count=kills)


@pytest.mark.fault("worker killed at each step")
def test_worker_killed_at_each_step(soak: Soak) -> None:
    """Before it, and when it has ended but nobody has been told."""
    site = soak.site()
    strikes = [f"kill-{when}-{step}" for step in STEPS for when in ("before", "after")]
    site.strike(*strikes)
    site.start()
    site.deliver(*site.frames("bias", "dark", "flat", "light"))
    wait_until(lambda: all(map(site.struck, strikes)), PATIENCE, "a worker to be killed at each step")
    soak.check_night(site, count=len(strikes))


@pytest.mark.fault("worker hung")
def test_worker_hung(soak: Soak) -> None:
    """It is stopped in the middle of its work and does not go on: its step's limit ends it."""
    names = ("identify", "calibrate", "measure", "solve", "flux", "append", "products", "other")
    limits = ", ".join(f"{name} = 20.0" for name in names)
    site, times = soak.site(watch=f"limits = {{ {limits} }}"), counted(3)
    site.start()
    coming = deliver_slowly(site, 0.5)
    begin(site)
    for number in range(times):
        wait_until(lambda: site.look("SELECT 1 FROM exposure WHERE state = 'reducing'"), PATIENCE, "work")
        for worker in site.workers():
            os.kill(worker, signal.SIGSTOP)
        site.tells("the limit is 20 s", times=number + 1)
    coming.join()
    soak.check_night(site, count=times)


@pytest.mark.fault("out of memory in a worker")
def test_out_of_memory(soak: Soak) -> None:
    """The kernel ends a worker that may have next to nothing more, and the exposure is another one's."""
    with memory_group() as group:
        site, times = soak.site(), counted(3)
        lights = iter(site.frames("light"))
        site.start()
        site.deliver(*site.frames("bias", "dark", "flat"), next(lights))
        begin(site)
        limit_of(group).write_text(str(4 * 2**20))
        for number in range(times):
            for pid in site.workers():
                (group / "cgroup.procs").write_text(str(pid))  # what it has it keeps; what it takes counts
            site.deliver(*islice(lights, 4))
            site.tells("was killed by SIGKILL (out of memory? see dmesg); the exposure is", times=number + 1)
            wait_until(site.workers, PATIENCE, "another worker")
        site.deliver(*lights)
        soak.check_night(site, count=times)


@contextmanager
def memory_group() -> Iterator[Path]:
    """Give a control group of its own, of either version; the test is skipped where none may be made."""
    parent = CGROUPS / "memory" if (CGROUPS / "memory").is_dir() else CGROUPS
    group = parent / f"nightflow-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"this process may make no control group: {error}")
    if not (limit_of(group).exists() and (group / "cgroup.procs").exists()):
        group.rmdir()
        pytest.skip("control groups here do not bound memory")
    try:
        yield group
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        wait_until(lambda: not (group / "cgroup.procs").read_text(), 20, "the group to be empty")
        group.rmdir()


def limit_of(group: Path) -> Path:
    old = group / "memory.limit_in_bytes"
    return old if old.parent.parent.name == "memory" else group / "memory.max"


@pytest.mark.fault("solver hung")
def test_solver_hung(soak: Soak) -> None:
    """`solve-field` never ends, and lets no signal but SIGKILL end it or its child; the next rung solves."""
    times = counted(4)
    programs, called = soak.root / "programs", soak.root / "called"
    programs.mkdir()
    hangs = (
        f"#!/bin/sh\necho $$ >> {called}\n[ $(wc -l < {called}) -gt {times} ] && exit 1\n"
        "trap '' TERM HUP INT\nsleep 86399 &\nwhile :; do sleep 86399; done\n"
    )
    (programs / "solve-field").write_text(hangs)
    (programs / "solve-field").chmod(0o755)
    site = soak.site(environment={"PATH": f"{programs}:{os.environ['PATH']}"})
    with site.settings.open("a") as settings:
        settings.write('\n[astrometry]\nladder = ["solve_field", "hint"]\n')
    site.start()
    site.deliver(*site.frames("bias", "dark", "flat", "light"))
    wait_until(
        lambda: called.exists() and len(called.read_text().split()) > times, PATIENCE, "the solver to hang"
    )
    left = subprocess.run(["pgrep", "-f", "sleep 86399"], capture_output=True, text=True, check=False)
    assert left.stdout.split() == [], "what hung is there still"
    soak.check_night(site, count=times)
