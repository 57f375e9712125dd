"""Real frames into which a bias, a dark and a flat were put come out as they were."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nightflow.detector.chain import calibrate
from nightflow.detector.master_frame import MasterSet
from nightflow.flags import Flag
from nightflow.frame import Frame
from nightflow.instruments.header import FrameKind
from nightflow.instruments.profile import CameraProfile
from nightflow.masters.build import build_master
from tests.real.test_calibration import load

pytestmark = pytest.mark.real

READ_NOISE = 3.0
BIAS_LEVEL, DARK_RATE = 300.0, 0.4
FLAT_LEVEL = 20_000.0


@dataclass
class Camera:
    """Faults drawn once, for frames whose every ADU is an electron."""

    shape: tuple[int, int]
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(32))

    def __post_init__(self) -> None:
        y, x = np.indices(self.shape) / max(self.shape)
        self.bias = BIAS_LEVEL + self.rng.normal(0, 4, self.shape[1]) + 6 * y
        self.dark = DARK_RATE * self.rng.lognormal(0, 0.4, self.shape)
        self.flat = (1 - 0.15 * ((x - 0.5) ** 2 + (y - 0.4) ** 2) * 4) * (
            1 + 0.01 * self.rng.standard_normal(self.shape)
        )
        self.flat /= np.median(self.flat)

    def read_out(self, electrons: NDArray[np.float64]) -> NDArray[np.float32]:
        counts = self.bias + electrons + self.rng.normal(0, READ_NOISE, self.shape)
        return np.rint(counts).astype(np.float32)

    def calibration(self, like: Frame, kind: FrameKind) -> Frame:
        exptime = {FrameKind.BIAS: 0.0, FrameKind.DARK: 60.0, FrameKind.FLAT: 1.0}[kind]
        light = FLAT_LEVEL * self.flat if kind == FrameKind.FLAT else 0.0
        electrons = self.rng.poisson(light + self.dark * exptime).astype(float)
        header = replace(like.header, kind=kind, exptime=exptime)
        return replace(like, data=self.read_out(electrons), header=header)

    def through(self, frame: Frame) -> Frame:
        """Return the frame as this camera would have read it: what came from the sky keeps its own noise."""
        dark = self.rng.poisson(self.dark * frame.header.exptime)
        return replace(frame, data=self.read_out(frame.data * self.flat + dark))


def prepared(frame: Frame) -> Frame:
    known = {"gain": 1.0, "gain_known": True, "read_noise": READ_NOISE, "read_noise_known": True}
    return replace(frame, header=replace(frame.header, saturation=60_000.0, **known))


def masters_of(camera: Camera, frame: Frame, profile: CameraProfile) -> MasterSet:
    made = MasterSet()
    for kind in (FrameKind.BIAS, FrameKind.FLAT, FrameKind.DARK):
        frames = [camera.calibration(frame, kind) for _ in range(9)]
        made = replace(made, **{str(kind): build_master(kind, frames, profile, made)})
    return made


def test_hatp32_comes_out_as_it_went_in(shared_data: Path) -> None:
    night = load(shared_data / "hatp32_subset", "*01*.FITS.gz")
    frames = [prepared(frame) for frame in list(night.frames.values())[:4]]
    settings = night.profile.calibration.model_copy(
        update={"overscan": "off", "bias": "required", "dark": "required", "flat": "required"}
    )
    cosmic_rays = night.profile.cosmic_rays.model_copy(update={"enabled": False})
    profile = night.profile.model_copy(update={"calibration": settings, "cosmic_rays": cosmic_rays})
    camera = Camera(frames[0].data.shape)
    masters = masters_of(camera, frames[0], profile)
    for frame in frames:
        result = calibrate(camera.through(frame), profile, masters)
        assert result.variance is not None
        assert result.flags is not None
        good = (result.flags & int(Flag.SATURATED | Flag.BAD | Flag.DEAD)) == 0
        assert np.mean(good) > 0.99
        left = result.data - frame.data
        # The noise of the sky's photons is in the frame already: what was put in is dark and read-out.
        added = (READ_NOISE**2 + 1 / 12 + camera.dark * frame.header.exptime) / camera.flat**2
        assert masters.dark is not None
        assert masters.flat is not None
        # The bias cancels: it was taken off the dark, too.
        masters_own = masters.dark.uncertainty**2 + (frame.data * masters.flat.uncertainty) ** 2
        pulls = (left / np.sqrt(added + masters_own))[good]
        low, middle, high = np.percentile(pulls, [15.865, 50, 84.135])
        assert abs(middle) < 0.05
        assert (high - low) / 2 == pytest.approx(1, abs=0.05)
        assert abs(np.median(left[good]) / np.median(frame.data)) < 5e-4
