"""Hits on real frames: the same pixels as by astroscrappy."""

from pathlib import Path

import numpy as np
import pytest

from nightflow.detector.chain import MasterSet, calibrate
from nightflow.flags import Flag
from nightflow.frame import Frame
from nightflow.instruments.profile import CameraProfile
from nightflow.instruments.registry import load_profiles
from nightflow.pipeline.identify import identify_file, read_frame

pytestmark = pytest.mark.real


def flagged(frame: Frame, profile: CameraProfile, method: str) -> np.ndarray:
    settings = profile.cosmic_rays.model_copy(update={"method": method})
    done = calibrate(frame, profile.model_copy(update={"cosmic_rays": settings}), MasterSet())
    assert done.flags is not None
    return (done.flags & int(Flag.COSMIC_RAY)) != 0


@pytest.mark.parametrize("number", [0, 1, 5, 9])
def test_lowell_frames_have_the_same_hits_by_both_methods(shared_data: Path, number: int) -> None:
    path = sorted((shared_data / "lowell_subset" / "5945").glob("*.fits*"))[number]
    identified = identify_file(path, load_profiles())
    # The bias level goes with the overscan; its pattern is far below the sky's noise.
    frame = read_frame(path, identified.headers[0])
    fast, slow = (flagged(frame, identified.profile, method) for method in ("fast", "astroscrappy"))
    assert slow.sum() > 300
    assert np.mean(fast == slow) >= 0.9999
    assert np.count_nonzero(fast & slow) >= 0.995 * np.count_nonzero(fast | slow)
