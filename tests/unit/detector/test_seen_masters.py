from concurrent.futures import ThreadPoolExecutor

import numpy as np

from nightflow.detector.seen_masters import SeenMasters
from nightflow.instruments.profile import BadPixelSettings

SETTINGS = BadPixelSettings()


def test_a_master_is_looked_through_once_for_each_question_and_setting() -> None:
    seen, data, looks = SeenMasters(), np.zeros(3), []

    def look() -> int:
        looks.append(1)
        return len(looks)

    assert [seen.get("dark", (data,), SETTINGS, look) for _ in range(3)] == [1, 1, 1]
    assert seen.get("flat", (data,), SETTINGS, look) == 2
    assert seen.get("dark", (data,), BadPixelSettings(hot_sigma=9), look) == 3
    assert seen.get("dark", (data.copy(),), SETTINGS, look) == 4
    assert seen.get("dark", (data,), SETTINGS, look) == 1


def test_another_master_at_the_same_place_in_memory_is_another() -> None:
    seen = SeenMasters()
    for value in range(50):
        data = np.full(1000, value)
        assert seen.get("dark", (data,), SETTINGS, lambda data=data: int(data[0])) == value
        del data


def test_the_oldest_is_forgotten() -> None:
    seen = SeenMasters(capacity=2)
    arrays = [np.zeros(1) for _ in range(3)]
    looks: list[int] = []
    for number, array in enumerate(arrays):
        seen.get("dark", (array,), SETTINGS, lambda number=number: looks.append(number))
    seen.get("dark", (arrays[2],), SETTINGS, lambda: looks.append(2))
    seen.get("dark", (arrays[0],), SETTINGS, lambda: looks.append(0))
    assert looks == [0, 1, 2, 0]


def test_many_threads_look_once() -> None:
    seen, data = SeenMasters(), np.zeros(3)
    looks: list[int] = []
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: seen.get("dark", (data,), SETTINGS, lambda: looks.append(1)), range(40)))
    assert looks == [1]
