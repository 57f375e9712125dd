from __future__ import annotations

import numpy as np
import pytest

from nightflow.lightcurves.candidates import LADDER, choose_candidates

FRAMES = 20


def _choose(offsets: list[float], noise: float | list[float] = 0.005, usable: np.ndarray | None = None):  # type: ignore[no-untyped-def]
    """Choose among stars that differ by ``offsets`` from the target, which is the last column."""
    mag = np.tile([*offsets, 0.0], (FRAMES, 1))
    errors = np.broadcast_to(np.asarray(noise, float), len(mag[0])) + np.zeros_like(mag)
    good = np.ones(mag.shape, bool) if usable is None else usable
    return choose_candidates(mag, errors, len(offsets), good)


def test_stars_about_as_bright_are_taken_and_the_others_explained() -> None:
    chosen = _choose([0.1, -0.5, 1.0, -2.0, 0.7, 2.6, -3.5])
    assert chosen.stars == (0, 1, 2, 3, 4)
    assert chosen.rejected == {
        5: "2.6 mag fainter than the target",
        6: "3.5 mag brighter than the target",
    }


def test_the_target_is_in_neither_list() -> None:
    chosen = _choose([0.0] * 6)
    assert 6 not in chosen.stars
    assert 6 not in chosen.rejected


def test_bounds_are_widened_only_as_far_as_needed() -> None:
    assert _choose([-3.5] * 5 + [9.0]).stars == (0, 1, 2, 3, 4)
    assert _choose([9.0, -9.0]).stars == (0, 1)


def test_noisy_stars_wait_for_wider_bounds() -> None:
    chosen = _choose([0.0] * 6, noise=[0.01] * 5 + [0.07, 0.01])
    assert chosen.stars == (0, 1, 2, 3, 4)
    assert chosen.rejected == {5: "photon error 0.070 mag"}


def test_a_star_that_is_not_usable_on_enough_frames() -> None:
    usable = np.ones((FRAMES, 7), bool)
    usable[:5, 2] = False
    assert _choose([0.0] * 6, usable=usable).rejected == {2: "usable on 15 of 20 frames"}


def test_a_drift_that_leaves_frames_without_stars_widens_the_bounds() -> None:
    usable = np.ones((FRAMES, 11), bool)
    usable[:6, :5] = False
    usable[10:, 5:10] = False
    chosen = _choose([0.0] * 10, usable=usable)
    assert np.all(usable[:, list(chosen.stars)].sum(axis=1) >= 3)


def test_no_star_at_all() -> None:
    assert _choose([]).stars == ()


@pytest.mark.parametrize("name", ["brighter", "fainter", "noise"])
def test_each_rung_is_wider_than_the_one_before(name: str) -> None:
    values = [getattr(bounds, name) for bounds in LADDER]
    assert values == sorted(values)
    for part in ("night", "coverage"):
        least = [getattr(bounds, part) for bounds in LADDER]
        assert least == sorted(least, reverse=True)
