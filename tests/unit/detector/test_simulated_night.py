"""A night whose light is known to the electron: what calibration leaves of each fault of the chip."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from nightflow.detector.chain import calibrate
from nightflow.detector.master_frame import MasterSet
from nightflow.flags import UNUSABLE, Flag
from nightflow.frame import Frame
from nightflow.instruments.header import FrameKind
from nightflow.instruments.normalise import normalise
from nightflow.instruments.profile import CameraProfile
from nightflow.instruments.registry import load_profiles
from nightflow.masters.build import build_master
from nightflow.simulate.night import SimulatedFrame, expected_light, render_frame
from nightflow.simulate.plan import CameraPlan, NightPlan
from nightflow.simulate.prepare import Night, frame_stream, prepare_night
from nightflow.simulate.schedule import ScheduledFrame

LIGHTS = 10
CAMERA = CameraPlan(shape=(768, 768), cosmic_rate=12.0)
SIMULATOR: CameraProfile = next(profile for profile in load_profiles() if profile.name == "simulator")


def raw(frame: SimulatedFrame) -> Frame:
    data = frame.pixels.astype(np.float32)
    header = normalise(frame.header, SIMULATOR, hdu=0, shape=data.shape)
    return Frame(data=data, unit="adu", header=header, raw_header=frame.header)


def build_masters(night: Night) -> MasterSet:
    def build(kind: FrameKind, masters: MasterSet) -> MasterSet:
        frames = [raw(render_frame(night, one)) for one in night.schedule if one.kind == kind]
        return replace(masters, **{str(kind): build_master(kind, frames, SIMULATOR, masters)})

    made = build(FrameKind.BIAS, MasterSet())
    # The flats are too short for a dark current: a master dark of their exposure is not taken.
    flat = build(FrameKind.FLAT, made).flat
    return replace(build(FrameKind.DARK, made), flat=flat)


@dataclass
class Reduced:
    """A light frame, calibrated, and what truly fell on each pixel."""

    frame: Frame
    truth: NDArray[np.float64]
    sky: float

    @property
    def good(self) -> NDArray[np.bool_]:
        assert self.frame.flags is not None
        return (self.frame.flags & int(UNUSABLE)) == 0

    @property
    def subtracted(self) -> NDArray[np.bool_]:
        """Pixels that ought to be right, hot ones included: their dark current was taken off, too."""
        assert self.frame.flags is not None
        return (self.frame.flags & int(UNUSABLE & ~Flag.HOT)) == 0

    @property
    def pulls(self) -> NDArray[np.float64]:
        assert self.frame.variance is not None
        return (self.frame.data - self.truth) / np.sqrt(self.frame.variance)


@dataclass
class ReducedNight:
    night: Night
    masters: MasterSet
    lights: list[Reduced]

    def slope(self, pattern: NDArray[np.float64]) -> float:
        """Return the weighted regression of what is left on a true pattern, both in electrons."""
        above = below = 0.0
        pattern = np.asarray(pattern, np.float64)
        for light in self.lights:
            assert light.frame.variance is not None
            sky = light.subtracted & (light.truth < 1.5 * light.sky)
            weight = np.where(sky, 1 / light.frame.variance, 0.0)
            centred = pattern - np.average(pattern, weights=weight)
            left = light.frame.data - light.truth
            above += float(np.sum(weight * centred * left))
            below += float(np.sum(weight * centred**2))
        return above / below


def reduce_light(night: Night, masters: MasterSet, scheduled: ScheduledFrame) -> Reduced:
    frame = calibrate(raw(render_frame(night, scheduled)), SIMULATOR, masters)
    truth = expected_light(night, scheduled, frame_stream(night.plan, scheduled.number))[0]
    return Reduced(frame, truth, float(np.median(truth)))


@pytest.fixture(scope="module")
def reduced() -> ReducedNight:
    plan = NightPlan.small(n_bias=9, n_dark=7, n_flat=7, n_lights=LIGHTS, camera=CAMERA)
    night = prepare_night(plan)
    masters = build_masters(night)
    lights = [one for one in night.schedule if one.kind == "light"]
    return ReducedNight(night, masters, [reduce_light(night, masters, one) for one in lights])


def test_nothing_of_the_bias_pattern_is_left(reduced: ReducedNight) -> None:
    assert abs(reduced.slope(reduced.night.detector.bias * CAMERA.gain)) < 0.01


def test_nothing_of_the_dark_pattern_is_left(reduced: ReducedNight) -> None:
    assert abs(reduced.slope(reduced.night.detector.dark_rate * reduced.night.plan.exptime)) < 0.01


def test_nothing_of_the_flat_pattern_is_left(reduced: ReducedNight) -> None:
    sky = np.mean([light.sky for light in reduced.lights])
    assert abs(reduced.slope((reduced.night.detector.flat - 1) * sky)) < 0.01


def test_raw_frames_hold_each_pattern_whole(reduced: ReducedNight) -> None:
    """The same measure on frames from which nothing was taken: the slopes are one."""
    untouched = []
    for light, scheduled in zip(
        reduced.lights, (f for f in reduced.night.schedule if f.kind == "light"), strict=True
    ):
        pixels = render_frame(reduced.night, scheduled).pixels.astype(np.float64)
        counts = pixels[:, :768] - np.median(pixels[:, 768:], axis=1, keepdims=True)
        untouched.append(replace_data(light, (counts * CAMERA.gain).astype(np.float32)))
    before = ReducedNight(reduced.night, reduced.masters, untouched)
    assert before.slope(reduced.night.detector.bias * CAMERA.gain) == pytest.approx(1, abs=0.1)


def replace_data(light: Reduced, data: NDArray[np.float32]) -> Reduced:
    return Reduced(light.frame.after("raw", data=data), light.truth, light.sky)


def width(pulls: NDArray[np.float64]) -> float:
    """Return half the distance between the 16th and the 84th percentile: 1 for errors that are true."""
    low, high = np.percentile(pulls, [15.865, 84.135])
    return float(high - low) / 2


def test_errors_are_true_on_the_sky(reduced: ReducedNight) -> None:
    pulls = np.concatenate(
        [light.pulls[light.good & (light.truth < 1.2 * light.sky)] for light in reduced.lights]
    )
    assert len(pulls) > 1_000_000
    assert 0.98 < width(pulls) < 1.02
    assert abs(np.median(pulls)) < 0.05


def test_errors_are_true_on_the_stars(reduced: ReducedNight) -> None:
    """Pixels with as much light of stars as of the sky, up to near saturation."""
    pulls = np.concatenate(
        [light.pulls[light.good & (light.truth > 2 * light.sky)] for light in reduced.lights]
    )
    assert len(pulls) > 20_000
    assert 0.98 < width(pulls) < 1.02
    assert abs(np.median(pulls)) < 0.05


def test_gain_and_read_noise_are_measured_within_two_percent(reduced: ReducedNight) -> None:
    assert reduced.masters.flat is not None
    transfer = reduced.masters.flat.photon_transfer
    assert transfer is not None
    assert transfer.gain == pytest.approx(CAMERA.gain, rel=0.02)
    assert transfer.read_noise * transfer.gain == pytest.approx(CAMERA.read_noise, rel=0.02)
    assert not [warning for warning in reduced.masters.flat.warnings if "photon transfer" in warning]


def test_the_dead_column_is_flagged(reduced: ReducedNight) -> None:
    dead = reduced.night.detector.dead
    assert dead.any()
    for light in reduced.lights:
        assert light.frame.flags is not None
        assert ((light.frame.flags[dead] & int(Flag.DEAD | Flag.BAD)) != 0).all()
