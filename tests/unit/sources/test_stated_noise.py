"""A gain or a read noise that is not the camera's shows in the sky."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nightflow.instruments.profile import DetectionSettings, PhotometrySettings
from nightflow.sources.measure import measure_frame
from nightflow.sources.stated_noise import noise_doubt
from tests.unit.sources.fields import gaussian_field


@pytest.mark.parametrize(("factor", "said"), [(1.0, ""), (0.3, "small"), (3.0, "large")])
def test_a_variance_that_is_wrong_is_told_of(factor: float, said: str) -> None:
    frame = gaussian_field(np.full(30, 2e4), sky=50.0, read_noise=8.0).frame
    assert frame.variance is not None
    frame = replace(
        frame,
        variance=(frame.variance * factor).astype(np.float32),
        header=replace(frame.header, gain_known=True, read_noise_known=True),
    )
    found = measure_frame(frame, DetectionSettings(), PhotometrySettings()).warnings
    doubts = [one for one in found if "the sky scatters" in one]
    assert len(doubts) == bool(said)
    assert all(f"too {said}" in one for one in doubts)


def test_without_sky_nothing_is_said() -> None:
    assert noise_doubt(np.ones((200, 200), np.float32), np.zeros((200, 200), bool), 50.0) == ""
