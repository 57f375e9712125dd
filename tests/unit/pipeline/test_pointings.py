"""The last verified solution of each pointing."""

from __future__ import annotations

import threading

import pytest
from astropy.wcs import WCS

from nightflow.pipeline.pointings import Pointings


def wcs(name: str) -> WCS:
    made = WCS(naxis=2)
    made.wcs.name = name
    return made


def recalled(pointings: Pointings, ra: float | None, dec: float | None, detector: str = "1") -> str | None:
    found = pointings.recall("nickel", detector, ra, dec)
    return None if found is None else found.wcs.name


def test_the_newest_of_a_pointing_is_recalled() -> None:
    pointings = Pointings()
    pointings.remember("nickel", "1", 31.0, 46.7, wcs("first"))
    pointings.remember("nickel", "1", 31.01, 46.7, wcs("second"))
    assert recalled(pointings, 31.0, 46.7) == "second"


@pytest.mark.parametrize(
    ("ra", "dec", "known"),
    [(31.9, 46.7, True), (31.0, 47.6, True), (31.0, 47.8, False), (33.0, 46.7, False)],
)
def test_within_a_degree_on_the_sky(ra: float, dec: float, known: bool) -> None:
    pointings = Pointings()
    pointings.remember("nickel", "1", 31.0, 46.7, wcs("it"))
    assert (recalled(pointings, ra, dec) == "it") is known


def test_across_ra_0() -> None:
    pointings = Pointings()
    pointings.remember("nickel", "1", 359.9, 0.0, wcs("it"))
    assert recalled(pointings, 0.2, 0.0) == "it"


def test_cameras_and_chips_are_apart() -> None:
    pointings = Pointings()
    pointings.remember("nickel", "1", 31.0, 46.7, wcs("it"))
    assert recalled(pointings, 31.0, 46.7, detector="2") is None
    assert pointings.recall("lowell42", "1", 31.0, 46.7) is None


@pytest.mark.parametrize(("ra", "dec"), [(None, None), (None, 46.7), (31.0, None)])
def test_without_a_hint_the_newest_of_the_camera_is_recalled(ra: float | None, dec: float | None) -> None:
    pointings = Pointings()
    pointings.remember("nickel", "1", 200.0, 10.0, wcs("first"))
    pointings.remember("nickel", "1", 31.0, 46.7, wcs("second"))
    pointings.remember("nickel", "2", 31.0, 46.7, wcs("other chip"))
    assert recalled(pointings, ra, dec) == "second"


def test_the_oldest_is_forgotten() -> None:
    pointings = Pointings(capacity=2)
    for number in range(3):
        pointings.remember("nickel", "1", 30.0 * number, 0.0, wcs(str(number)))
    assert [recalled(pointings, 30.0 * number, 0.0) for number in range(3)] == [None, "1", "2"]


def test_threads_share_it() -> None:
    pointings = Pointings(capacity=1000)

    def work(first: int) -> None:
        for number in range(50):
            pointings.remember("nickel", "1", 3.0 * number, first, wcs(f"{first}-{number}"))
            pointings.recall("nickel", "1", 3.0 * number, first)

    threads = [threading.Thread(target=work, args=(10 * number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(recalled(pointings, 147.0, 10.0 * number) == f"{10 * number}-49" for number in range(6))
