"""What a joint solution calls its files: names come from outside."""

from __future__ import annotations

import pytest

from nightflow.pipeline.joint_solution import file_stem
from nightflow.store.models import Exposure


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("m67-001.fits.gz", "m67-001-e7"),
        ("-c.fits", "c-e7"),
        ("--VERBOSE_TYPE QUIET.fits", "VERBOSE_TYPE_QUIET-e7"),
        ("---.fits", "exposure-e7"),
        ("../a b/.hidden.fits", "_hidden-e7"),
    ],
)
def test_no_name_is_an_option_or_a_path(name: str, stem: str) -> None:
    assert file_stem(Exposure(id=7, path=f"/raw/{name}")) == stem
