"""A simulated night's masters, built from its files, show the faults that the chip was given."""

import numpy as np
import pytest

from nightflow.detector.chain import MasterSet
from nightflow.detector.master_flags import master_flags
from nightflow.flags import Flag
from nightflow.instruments.header import FrameKind
from nightflow.instruments.registry import load_profiles
from nightflow.masters.build import build_master
from nightflow.pipeline.identify import identify_file, read_frame
from nightflow.simulate import CameraPlan, NightPlan, write_night
from nightflow.simulate.detector import Detector
from nightflow.simulate.prepare import prepare_night

PLAN = NightPlan(n_lights=1, filters=("V",), camera=CameraPlan(hot_fraction=2e-3, n_dead_columns=2))


@pytest.fixture(scope="module")
def masters(tmp_path_factory: pytest.TempPathFactory) -> MasterSet:
    folder = tmp_path_factory.mktemp("night")
    write_night(PLAN, folder)
    built: dict = {}
    for kind in (FrameKind.BIAS, FrameKind.DARK, FrameKind.FLAT):
        paths = sorted(folder.rglob(f"*-{kind}*.fits"))
        profile = identify_file(paths[0], load_profiles()).profile
        frames = [read_frame(path, identify_file(path, [profile]).headers[0]) for path in paths]
        # The flats are too short for a dark of theirs to show anything.
        given = MasterSet(bias=built.get("bias"))
        built[str(kind)] = build_master(kind, frames, profile, given)
    return MasterSet(**built)


@pytest.fixture(scope="module")
def chip() -> Detector:
    return prepare_night(PLAN).detector


@pytest.fixture(scope="module")
def flags(masters: MasterSet) -> np.ndarray:
    profile = next(one for one in load_profiles() if one.name == "simulator")
    return master_flags(
        masters.dark, masters.flat, PLAN.exptime, profile.bad_pixels, master_bias=masters.bias
    )


def test_hot_pixels_are_found_and_no_others(masters: MasterSet, chip: Detector, flags: np.ndarray) -> None:
    """Above 6.1 times the noise of the master dark: 99 % found, less than 0.01 % of the frame false."""
    clean = ~chip.hot & ~chip.dead
    noise = np.std(masters.dark.data[clean])
    excess = chip.dark_rate * PLAN.exptime / PLAN.camera.gain - np.median(masters.dark.data)
    bright = chip.hot & (excess > 6.1 * noise)
    found = (flags & int(Flag.HOT | Flag.WARM)) != 0
    assert bright.sum() > 1000
    assert found[bright].mean() >= 0.99
    assert np.count_nonzero(found & clean) < 1e-4 * found.size


def test_hot_means_as_noisy_as_a_normal_pixel(chip: Detector, flags: np.ndarray) -> None:
    electrons = (chip.dark_rate - PLAN.camera.dark_rate) * PLAN.exptime
    normal = PLAN.camera.read_noise**2 + PLAN.camera.dark_rate * PLAN.exptime
    hot = (flags & int(Flag.HOT)) != 0
    assert hot[electrons > 1.5 * normal].all()
    assert not hot[electrons < 0.6 * normal].any()


def test_dead_columns_are_found_whole_and_no_others(chip: Detector, flags: np.ndarray) -> None:
    dead = (flags & int(Flag.DEAD | Flag.BAD)) != 0
    assert chip.dead.any()
    assert dead[chip.dead].mean() > 0.999
    assert np.count_nonzero(dead & ~chip.dead) < 1e-5 * dead.size
