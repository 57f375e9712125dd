"""The machine around the service: its clock, its events, its disks, and files by the thousand."""

from __future__ import annotations

import shutil
import time

import pytest

from tests.e2e.conftest import wait_until
from tests.faults.cases import events_overflow
from tests.faults.clock import SteppedClock
from tests.faults.mounts import insert, unmount
from tests.faults.service_cases import deliver_burst
from tests.faults.soak import PATIENCE, Soak, begin, counted, deliver_slowly

pytestmark = [pytest.mark.e2e, pytest.mark.soak, pytest.mark.timeout(3600)]

HOUR = 3600


@pytest.mark.fault("clock stepped")
def test_clock_stepped(soak: Soak) -> None:
    """Back by an hour, on by two, back again, with frames in work; and the service starts in the past."""
    clock = SteppedClock(soak.root)
    site = soak.site(environment=clock.environment)
    site.start()
    coming = deliver_slowly(site, 1.5)
    begin(site)
    for step in (-HOUR, HOUR, 0):
        clock.set(step)
        time.sleep(6)
    clock.set(-HOUR)
    site.kill()
    site.start()
    time.sleep(10)
    clock.set(0)
    coming.join()
    soak.conclude(site, count=5)


@pytest.mark.fault("many files at once")
def test_five_thousand_files_at_once(soak: Soak) -> None:
    site, number = soak.site(), counted(5000)
    site.start()
    site.deliver(*site.frames("bias", "dark", "flat", "light"))
    deliver_burst(site, number)
    soak.conclude(site, count=number)


@pytest.mark.fault("inotify overflow")
def test_events_overflow_again_and_again(soak: Soak) -> None:
    site, lights = soak.site(), iter(())
    site.start()
    site.deliver(*site.frames("bias", "dark", "flat"))
    lights = iter(site.frames("light"))
    times = min(counted(10), len(site.frames("light")))
    for _ in range(times):
        events_overflow(site, next(lights))
    site.deliver(*lights)
    soak.conclude(site, count=times)


@pytest.mark.fault("folder unmounted and mounted again")
def test_card_pulled_again_and_again(soak: Soak) -> None:
    """Each time it brings another light, and is gone while that is reduced."""
    site, content = soak.site(), soak.root / "content"
    content.mkdir()
    site.start()
    frames = site.frames("bias", "dark", "flat")
    site.deliver(*frames)
    lights = site.frames("light")
    for number, light in enumerate(lights):
        shutil.copy(light, content)
        if not insert(content, site.card):
            pytest.skip("this process may not mount anything")
        told = f"{site.card}: it is there (again)"
        site.tells(told, times=2 * number + 1)
        wait_until(lambda: site.states(light.name), PATIENCE, "the light to be received")  # noqa: B023
        unmount(site.card)
        site.tells(told, times=2 * number + 2)
    assert insert(content, site.card)
    site.command("retry", "--state", "held")
    soak.conclude(site, count=len(lights))
