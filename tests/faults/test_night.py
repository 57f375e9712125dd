"""A night with a dozen faults: nothing is lost, nothing doubled, and the light curves are the same.

The cases share one night, because a night costs half a minute; each is a test of its own, with its own light.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.faults.cases import CASES, Case
from tests.faults.clock import SteppedClock
from tests.faults.disturbed import DisturbedNight
from tests.faults.mounts import mount_small
from tests.faults.service_cases import AT_FIRST, FIRST_OF_CASES, MEANWHILE, STRIKES
from tests.faults.site import Rows, Site, check_night, different

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def disturbed(night: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DisturbedNight]:
    """The night with all its faults, concluded."""
    site = Site(tmp_path_factory.mktemp("disturbed"), night)
    told = DisturbedNight(site)
    lights = site.frames("light")
    mount_small(site.store, 160)
    if SteppedClock.can_be_made():
        site.live_by(SteppedClock(site.root))
    site.strike(*STRIKES)
    site.start()
    try:
        site.deliver(*site.frames("bias", "dark"))
        for name, disturb in AT_FIRST.items():
            told.note(name, partial(disturb, site))
        with ThreadPoolExecutor(len(CASES)) as pool:
            running: list[Future[None]] = [
                pool.submit(told.note, case.name, partial(case.disturb, site, light))
                for case, light in zip(CASES, lights[FIRST_OF_CASES:], strict=True)
            ]
            for name, disturb in MEANWHILE.items():
                told.note(name, partial(disturb, site))
            for future in running:
                future.result()
        told.conclude()
        yield told
    finally:
        site.close()


@pytest.mark.parametrize(
    ("case", "number"),
    [pytest.param(case, number, id=case.name) for number, case in enumerate(CASES, FIRST_OF_CASES)],
)
def test_a_frame(case: Case, number: int, disturbed: DisturbedNight, undisturbed: Rows) -> None:
    disturbed.check(case.name)
    name = disturbed.site.frames("light")[number].name
    assert tuple(disturbed.site.states(name)) == case.states
    own = {key: row for key, row in undisturbed.items() if key[0] == name}
    assert own
    assert different(own, {key: row for key, row in disturbed.curves.items() if key[0] == name}) == []


@pytest.mark.parametrize("name", [*AT_FIRST, *MEANWHILE, "settling", "stopping"])
def test_the_service(name: str, disturbed: DisturbedNight) -> None:
    disturbed.check(name)
    assert disturbed.curves, "the night has no light curves"


def test_the_night_is_that_of_the_undisturbed_one(disturbed: DisturbedNight, undisturbed: Rows) -> None:
    check_night(disturbed.site, undisturbed, disturbed.curves, but=("dome-closed.fits",))
