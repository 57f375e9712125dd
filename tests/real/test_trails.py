"""Trails on real frames: none of these has one."""

from pathlib import Path

import numpy as np
import pytest

from nightflow.detector.chain import MasterSet, calibrate
from nightflow.detector.trails import flag_trails
from nightflow.flags import Flag
from nightflow.instruments.header import FrameKind
from nightflow.instruments.profile import TrailSettings
from nightflow.instruments.registry import load_profiles
from nightflow.pipeline.identify import identify_file, read_frame
from tests.real.test_calibration import load
from tests.unit.detector.skies import distance_from_line, trail_profile

pytestmark = pytest.mark.real

PLACES = [
    ("hatp32_subset", "*.FITS*", 12),
    ("lowell_subset/5945", "*.fits*", 4),
    ("mit_2018-10-12", "*.f*", 10),
    ("nickel_2024-05-12", "*.fits*", 3),
]


def lights(folder: Path, pattern: str, step: int):
    """Return every few of the folder's light frames, calibrated without masters."""
    profiles = load_profiles()
    for path in sorted(folder.rglob(pattern))[::step]:
        identified = identify_file(path, profiles)
        if identified.kind == "light":
            yield calibrate(read_frame(path, identified.headers[0]), identified.profile, MasterSet())


@pytest.mark.parametrize(("folder", "pattern", "step"), PLACES)
def test_no_trail_is_seen_where_there_is_none(
    shared_data: Path, folder: str, pattern: str, step: int
) -> None:
    frames = list(lights(shared_data / folder, pattern, step))
    assert frames
    for frame in frames:
        assert not (frame.flags & int(Flag.TRAIL)).any()
        assert any(line == "trails: none" for line in frame.history)


def test_no_trail_is_seen_in_a_vignetted_edge(shared_data: Path) -> None:
    """Divided by a flat that falls to 0.3, the sky of the Lowell frames has a ridge along the lower edge."""
    night = load(shared_data / "lowell_subset")
    frames = list(night.of_kind(FrameKind.LIGHT).values())
    bias = night.master(FrameKind.BIAS, frames[0])
    masters = MasterSet(bias=bias, flat=night.master(FrameKind.FLAT, frames[0], MasterSet(bias=bias)))
    for frame in frames:
        assert not (calibrate(frame, night.profile, masters).flags & int(Flag.TRAIL)).any()


@pytest.mark.parametrize(("folder", "pattern", "step"), PLACES)
def test_a_trail_put_into_a_real_frame_is_found(
    shared_data: Path, folder: str, pattern: str, step: int
) -> None:
    frame = list(lights(shared_data / folder, pattern, step))[-1]
    profile = trail_profile(distance_from_line(frame.data.shape, 0.9, 40.0))
    strength = 4 * np.sqrt(np.median(frame.variance))
    crossed = frame.after("trail", data=(frame.data + strength * profile).astype(np.float32))
    flags = flag_trails(crossed, TrailSettings()).flags
    # Without a flat the corners of the Lowell frames are too dark and too steep to follow it to the edge.
    assert ((flags & int(Flag.TRAIL)) != 0)[profile > 0.3].mean() > (0.7 if "lowell" in folder else 0.95)
