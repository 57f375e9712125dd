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
    if not SteppedClock.can_be_made():
        pytest.skip("no C compiler to make a clock with that can be set")
    site, clock = soak.site(), SteppedClock(soak.root)
    site.live_by(clock)
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
    soak.check_night(site, count=5)


@pytest.mark.fault("many files at once")
def test_five_thousand_files_at_once(soak: Soak) -> None:
    site, number = soak.site(), counted(5000)
    site.start()
    site.deliver(*site.frames("bias", "dark", "flat", "light"))
    deliver_burst(site, number)
    soak.check_night(site, count=number)


@pytest.mark.fault("inotify overflow")
def test_events_overflow_again_and_again(soak: Soak) -> None:
    site, times = soak.site(), counted(10)
    site.start()
    site.deliver(*site.frames("bias", "dark", "flat"))
    site.wait_for(site.frames("flat")[-1].name, "done", seconds=PATIENCE)
    lights = site.frames("light")
    for light in lights[:times]:
        events_overflow(site, light)
    site.deliver(*lights[times:])
    soak.check_night(site, count=times)


@pytest.mark.fault("folder unmounted and mounted again")
def test_card_pulled_again_and_again(soak: Soak) -> None:
    """Each time it brings another light, and is gone while that is reduced."""
    site, content = soak.site(), soak.root / "content"
    content.mkdir()
    site.start()
    site.deliver(*site.frames("bias", "dark", "flat"))
    site.wait_for(site.frames("flat")[-1].name, "done", seconds=PATIENCE)
    lights, told = site.frames("light"), f"{site.card}: it is there (again)"
    for number, light in enumerate(lights):
        shutil.copy(light, content)
        if not insert(content, site.card):
            pytest.skip("this process may not mount anything")
        site.tells(told, times=2 * number + 1)
        wait_until(lambda: site.states(light.name), PATIENCE, "the light to be received")  # noqa: B023
        unmount(site.card)
        site.tells(told, times=2 * number + 2)
    in_work = "SELECT 1 FROM exposure WHERE state IN ('received', 'reducing')"
    wait_until(lambda: not site.look(in_work), PATIENCE, "what is away to be held")
    assert insert(content, site.card)
    site.tells(told, times=2 * len(lights) + 1)
    site.command("retry", "--state", "held")
    soak.check_night(site, count=len(lights))
