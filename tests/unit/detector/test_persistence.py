from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightflow.detector.chain import MasterSet, calibrate
from nightflow.detector.persistence import SaturationMemory, flag_persistence, saturated_pixels
from nightflow.flags import Flag
from tests.unit.detector.frames import make_frame, make_header, make_profile

SECOND = 1 / 86400
OFF = {"bias": "off", "dark": "off", "flat": "off"}


def exposure(start: float, place: tuple[int, int] | None = None, **changes):
    """A frame of 60 s that began ``start`` seconds after midnight; ``place`` is saturated."""
    data = np.full((8, 10), 100.0)
    if place is not None:
        data[place] = 65000
    return make_frame(data, mjd_mid=60000 + (start + 30) * SECOND, exptime=60.0, **changes)


def reduce(frame, memory: SaturationMemory, seconds: float = 300.0):
    profile = make_profile(calibration=OFF, bad_pixels={"persistence_seconds": seconds})
    done = calibrate(frame, profile, MasterSet(saturated_before=memory.earlier(frame.header)))
    memory.remember(frame.header, saturated_pixels(done))
    return done


def ghosts(frame) -> list[list[int]]:
    return np.argwhere(frame.flags & Flag.PERSISTENCE).tolist()


def test_what_was_saturated_stays_flagged_for_so_many_seconds() -> None:
    memory = SaturationMemory()
    assert ghosts(reduce(exposure(0, (2, 3)), memory)) == []
    after = reduce(exposure(70, (4, 5)), memory)
    assert ghosts(after) == [[2, 3]]
    assert after.flags[4, 5] == Flag.SATURATED
    assert ghosts(reduce(exposure(359), memory)) == [[2, 3], [4, 5]]
    assert ghosts(reduce(exposure(362), memory)) == [[4, 5]]
    assert ghosts(reduce(exposure(432), memory)) == []


def test_only_earlier_exposures_count_in_whatever_order_they_are_reduced() -> None:
    memory = SaturationMemory()
    reduce(exposure(140, (6, 6)), memory)
    assert ghosts(reduce(exposure(0, (2, 3)), memory)) == []
    assert ghosts(reduce(exposure(70), memory)) == [[2, 3]]


def test_a_short_exposure_is_not_before_itself() -> None:
    """Times of headers are rounded: what ended up to a second after another began may be before it."""
    memory = SaturationMemory()
    short = {"exptime": 0.5, "mjd_mid": 60000 + 100 * SECOND}
    frame = make_frame(exposure(0, (2, 3)).data, **short)
    assert ghosts(reduce(frame, memory)) == []
    assert ghosts(reduce(frame, memory)) == []
    assert ghosts(reduce(exposure(99.9), memory)) == [[2, 3]]


@given(st.permutations(range(6)))
def test_a_second_pass_in_order_of_time_depends_on_no_order(order: list[int]) -> None:
    frames = [exposure(70 * n, (n, n)) for n in range(6)]
    memory, fresh = SaturationMemory(), SaturationMemory()
    for n in order:
        reduce(frames[n], memory)
    again = [ghosts(reduce(frame, memory)) for frame in frames]
    assert again == [ghosts(reduce(frame, fresh)) for frame in frames]


def test_a_long_night_that_is_reduced_again_has_its_mask_again() -> None:
    """Of the first pass only the last frames are kept; the second finds what came before each."""
    frames = [exposure(70 * n, (n % 8, n // 8)) for n in range(64)]
    memory = SaturationMemory(exposures=8)
    first = [ghosts(reduce(frame, memory)) for frame in frames]
    assert [ghosts(reduce(frame, memory)) for frame in frames] == first
    assert all(first[1:])


@given(st.floats(1.0, 1000.0), st.floats(0.1, 100.0))
def test_on_the_edge_of_the_window_all_who_ask_get_one_answer(seconds: float, exptime: float) -> None:
    """The cadence is the window, and times are rounded."""
    memory = SaturationMemory()
    first = exposure(0, (2, 3)).data
    reduce(make_frame(first, mjd_mid=60000.1, exptime=exptime), memory)
    for late in (-0.01, 0.0, 0.01):
        mjd_mid = 60000.1 + (seconds + exptime + late) * SECOND
        frame = make_frame(np.full((8, 10), 100.0), mjd_mid=mjd_mid, exptime=exptime)
        kept = memory.earlier(frame.header, seconds)
        flagged = ghosts(flag_persistence(frame, memory.earlier(frame.header), seconds))
        assert (len(kept) == 1) is (flagged == [[2, 3]])
        assert late == 0.0 or (len(kept) == 1) is (late < 0)


def test_a_memory_has_room_for_what_a_window_holds() -> None:
    memory = SaturationMemory(exposures=2)
    memory.make_room(3)
    memory.make_room(1)
    for n in range(5):
        reduce(exposure(70 * n, (n, n)), memory)
    assert len(memory.earlier(exposure(1000).header)) == 3


def test_other_detectors_and_shapes_do_not_count() -> None:
    memory = SaturationMemory()
    reduce(exposure(0, (2, 3)), memory)
    assert ghosts(reduce(exposure(70, detector="2"), memory)) == []
    smaller = make_frame(np.full((4, 5), 100.0), mjd_mid=60000 + 100 * SECOND)
    assert ghosts(reduce(smaller, memory)) == []


def test_it_is_off_by_default_and_without_a_time() -> None:
    memory = SaturationMemory()
    reduce(exposure(0, (2, 3)), memory)
    assert ghosts(reduce(exposure(70), memory, seconds=0.0)) == []
    timeless = make_frame(np.full((8, 10), 100.0), mjd_mid=None)
    earlier = memory.earlier(exposure(70).header)
    assert "unknown" in flag_persistence(timeless, earlier, 300.0).warnings[-1]
    assert saturated_pixels(timeless.after("flags", flags=np.zeros((8, 10), np.uint16))) is None
    assert memory.earlier(timeless.header) == ()


def test_the_memory_is_bounded() -> None:
    memory = SaturationMemory(exposures=3, detectors=2)
    for n in range(6):
        reduce(exposure(70 * n, (n, n)), memory)
    assert [one.index.tolist() for one in memory.earlier(exposure(1000).header)] == [[33], [44], [55]]
    for name in ("a", "b"):
        memory.remember(make_header(detector=name), saturated_pixels(reduce(exposure(0), SaturationMemory())))
    assert memory.earlier(exposure(1000).header) == ()


def test_it_is_safe_for_threads() -> None:
    memory = SaturationMemory(exposures=1000)
    frames = [exposure(70 * n, (n % 8, n % 10)) for n in range(80)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda frame: reduce(frame, memory), frames))
    assert len(memory.earlier(exposure(1e5).header)) == 80


def test_the_masters_fingerprints_know_nothing_of_it() -> None:
    memory = SaturationMemory()
    reduce(exposure(0, (2, 3)), memory)
    assert MasterSet(saturated_before=memory.earlier(exposure(70).header)).fingerprints == {}
    assert pytest.approx(60000 + 60 * SECOND) == memory.earlier(exposure(70).header)[0].mjd_end
