"""What docs/cameras.md shows works."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from nightflow.instruments.profile import CameraProfile
from nightflow.instruments.quantities import as_markdown
from nightflow.instruments.registry import load_profiles

TEXT = (Path(__file__).parents[3] / "docs/cameras.md").read_text()
EXAMPLES = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)


def test_the_table_of_quantities_is_the_one_in_the_code() -> None:
    assert as_markdown() in TEXT


def test_every_profile_is_listed() -> None:
    assert set(
        re.findall(r"^\| `(\w+)` \| .* \| .* \|$", TEXT.split("## The shortest")[0], re.MULTILINE)
    ) == {profile.name for profile in load_profiles()}


def test_the_shortest_profile_loads(tmp_path: Path) -> None:
    (tmp_path / "backyard.toml").write_text(EXAMPLES[0])
    mine = load_profiles(tmp_path)[0]
    assert (mine.name, mine.detector.gain, mine.astrometry.scale) == ("backyard", 0.39, 0.48)
    assert mine.keywords["exptime"].keys[0] == "EXPTIME"


def test_the_other_examples_are_valid() -> None:
    assert len(EXAMPLES) == 6
    for example in EXAMPLES[1:]:
        CameraProfile(name="example", **tomllib.loads(example))
