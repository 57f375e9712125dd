"""The columns that the Nickel's observers know to be bad show in its masters."""

from pathlib import Path

import numpy as np
import pytest

from nightflow.detector.chain import MasterSet
from nightflow.detector.master_flags import master_flags
from nightflow.flags import Flag
from nightflow.instruments.header import FrameKind
from nightflow.instruments.profile import BadPixelSettings
from nightflow.instruments.registry import load_profiles
from nightflow.masters.build import build_master
from nightflow.pipeline.identify import identify_file, read_frame

pytestmark = pytest.mark.real

KNOWN = {783, 784, 1002, 1023}
"""0-based; those of the profile that have a value in the masters, and one that does harm."""


def masters_of(folder: Path) -> MasterSet:
    """Return bias and flat, made without the profile's list of bad columns."""
    profiles = load_profiles()
    built: dict = {}
    for kind in (FrameKind.BIAS, FrameKind.FLAT):
        found = [(path, identify_file(path, profiles)) for path in sorted(folder.rglob("*.fits*"))]
        wanted = [(path, one) for path, one in found if one.kind == kind]
        profile = wanted[0][1].profile
        bare = profile.detector.model_copy(update={"bad_pixel_regions": []})
        profile = profile.model_copy(update={"detector": bare})
        frames = [read_frame(path, one.headers[0]) for path, one in wanted]
        built[str(kind)] = build_master(kind, frames, profile, MasterSet(**built))
    return MasterSet(**built)


def test_known_bad_columns_are_found_and_few_others(shared_data: Path) -> None:
    masters = masters_of(shared_data / "nickel_2024-05-12")
    flags = master_flags(None, masters.flat, 10.0, BadPixelSettings(), master_bias=masters.bias)
    share = np.mean((flags & int(Flag.BAD)) != 0, axis=0)
    assert set(np.flatnonzero(share > 0.9)) >= KNOWN
    assert np.count_nonzero(share > 0.1) < 20
    # The middle of the chip, half as wide as all of it, has none but column 669, 24 ADU above its neighbours.
    assert np.flatnonzero(share[260:780] > 0.1).tolist() == [669 - 260]
