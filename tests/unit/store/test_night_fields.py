"""Which frames of a night are of one field."""

from __future__ import annotations

import time

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from scipy.sparse.csgraph import connected_components

from nightflow.store.night_fields import ReducedFrame, field_groups


def frame_at(number: int, ra: float, dec: float, radius: float) -> ReducedFrame:
    """Return a frame whose corners are ``radius`` arcsec away from its middle."""
    return ReducedFrame(
        reduction_id=number, sha256=f"{number:06d}", detector="", instrument="", filter="R", mjd_mid=61000.0,
        exptime=1.0, ra=ra, dec=dec, scale=radius / 500.0, rotation=0.0, shape=(600, 800), fwhm=3.0, rms=0.1,
    )  # fmt: skip


def labels(frames: list[ReducedFrame]) -> np.ndarray:
    """Return the group of each frame."""
    found = np.full(len(frames), -1)
    for number, group in enumerate(field_groups(frames)):
        found[[one.reduction_id for one in group]] = number
    return found


def by_definition(frames: list[ReducedFrame], slack: float) -> np.ndarray:
    """Return the groups of frames whose circles miss each other by less than a part of the larger radius."""
    places = SkyCoord([one.ra for one in frames], [one.dec for one in frames], unit="deg")
    apart = places[:, None].separation(places[None]).arcsec
    radii = np.array([one.radius for one in frames])
    larger = np.maximum(radii[:, None], radii[None])
    return connected_components(apart <= radii[:, None] + radii[None] + slack * larger, directed=False)[1]


def parts_of(fine: np.ndarray, coarse: np.ndarray) -> bool:
    """Return whether each group of the first lies in one of the second."""
    return len(np.unique(np.column_stack([fine, coarse]), axis=0)) == len(np.unique(fine))


@pytest.mark.parametrize(("ra", "dec"), [(132.0, 41.0), (0.0, -5.0), (40.0, 89.9)])
@pytest.mark.parametrize("seed", range(6))
def test_circles_that_touch_are_one_field_and_others_are_not(ra: float, dec: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    at = SkyCoord(ra, dec, unit="deg").spherical_offsets_by(*(rng.uniform(-3, 3, (2, 60)) * u.deg))
    radii = rng.choice([200.0, 900.0, 1400.0], 60) * rng.uniform(0.98, 1.02, 60)
    frames = [frame_at(k, at[k].ra.deg, at[k].dec.deg, radii[k]) for k in range(60)]
    found = labels(frames)
    assert 3 < len(np.unique(found)) < 60
    assert parts_of(by_definition(frames, 0.0), found)
    assert parts_of(found, by_definition(frames, 0.1))
    turned = labels(frames[::-1])
    assert parts_of(found, turned)
    assert parts_of(turned, found)


@pytest.mark.parametrize(("dec", "number"), [(-20.0, 1), (-50.0, 2)])
def test_a_frame_of_half_the_sky_is_a_frame_like_any_other(dec: float, number: int) -> None:
    frames = [frame_at(k, 90.0 * k, 60.0, 85.0 * 3600.0) for k in range(4)]
    assert len(field_groups([*frames, frame_at(4, 10.0, dec, 600.0)])) == number


def test_ten_thousand_frames_of_two_fields_take_no_time() -> None:
    # All pairs of these were fifty million, and each had its sine: minutes with the store locked.
    rng = np.random.default_rng(1)
    offset = rng.normal(0, 20.0 / 3600.0, (10_000, 2))
    frames = [
        frame_at(k, 132.0 + 2.0 * (k % 2) + dra, 41.0 + ddec, 900.0) for k, (dra, ddec) in enumerate(offset)
    ]
    start = time.process_time()
    groups = field_groups(frames)
    assert time.process_time() - start < 1.0
    assert [[one.reduction_id % 2 for one in group[:2]] for group in groups] == [[0, 0], [1, 1]]
    assert [len(group) for group in groups] == [5000, 5000]
    assert [one.reduction_id for one in groups[0]] == list(range(0, 10_000, 2))
