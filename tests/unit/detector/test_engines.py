"""The engines agree step by step: our arithmetic, fused or not, and ccdproc's with astroscrappy."""

from __future__ import annotations

import numpy as np
import pytest

from nightflow.detector.chain import STEPS, calibrate
from nightflow.detector.master_frame import MasterSet
from nightflow.detector.reference import ORACLES, by_ccdproc
from nightflow.frame import Frame
from nightflow.instruments.header import FrameKind
from nightflow.simulate.night import render_frame
from nightflow.simulate.plan import CameraPlan, NightPlan
from nightflow.simulate.prepare import prepare_night
from tests.unit.detector.test_simulated_night import SIMULATOR, build_masters, raw


@pytest.fixture(scope="module")
def exposure() -> tuple[Frame, MasterSet]:
    night = prepare_night(NightPlan.small(n_lights=1, camera=CameraPlan(shape=(512, 480), cosmic_rate=30.0)))
    light = next(one for one in night.schedule if one.kind == "light")
    return raw(render_frame(night, light)), build_masters(night)


def test_each_step_of_ccdproc_gives_our_pixels_and_errors(exposure: tuple[Frame, MasterSet]) -> None:
    frame, masters = exposure
    asked = []
    for step in STEPS:
        if FrameKind.LIGHT not in step.kinds:
            continue
        ours = step.apply(frame, SIMULATOR, masters)
        theirs = by_ccdproc(step.name, frame, ours, SIMULATOR, masters)
        if theirs is not ours:
            asked.append(step.name)
            np.testing.assert_allclose(theirs.data, ours.data, rtol=1e-5, atol=1e-3, err_msg=step.name)
            if ours.variance is not None:
                np.testing.assert_allclose(theirs.variance, ours.variance, rtol=1e-4, err_msg=step.name)
        frame = ours
    assert asked == ["overscan", "trim", "bias", "variance", "dark", "flat", "gain"] == list(ORACLES)


def test_the_whole_chain_agrees_within_a_thousandth_of_the_noise(exposure: tuple[Frame, MasterSet]) -> None:
    frame, masters = exposure
    fast = calibrate(frame, SIMULATOR, masters)
    reference = calibrate(frame, SIMULATOR, masters, "reference")
    assert fast.history == reference.history
    assert fast.variance is not None
    assert reference.variance is not None
    off = np.abs(fast.data - reference.data) / np.sqrt(fast.variance)
    assert off.max() < 1e-3, f"pixels differ by up to {off.max():.2g} of their error"
    np.testing.assert_allclose(fast.variance, reference.variance, rtol=1e-4)
    assert np.mean(fast.flags != reference.flags) <= 1e-4
