"""What is said where no catalogue has the stars."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nightflow.astrometry.reference import reference_stars
from nightflow.catalogs.local import LocalCatalogs
from nightflow.errors import NoSolution
from nightflow.instruments.profile import AstrometrySettings
from tests.unit.astrometry.synthetic import make_request, make_stars, make_wcs, store

STARS = make_stars(80.0, 10.0, 0.3, 20)


@pytest.mark.parametrize(
    ("names", "ra", "said"),
    [
        ([], 80.0, "(there is no catalogue); import one with"),
        (["a"], 200.0, "(a, the only catalogue, does not cover it); import a deeper or wider one with"),
        (["a", "b"], 200.0, "(none of 2 catalogues covers it); import a deeper or wider one with"),
        (["a"], 80.0, "(a has 20); import a deeper or wider one with"),
    ],
)
def test_the_mend_is_what_is_missing(tmp_path: Path, names: list[str], ra: float, said: str) -> None:
    for name in names:
        store(tmp_path, replace(STARS, catalog=name))
    request = make_request(make_wcs(80.0, 10.0), STARS)
    with pytest.raises(NoSolution) as told:
        reference_stars(
            LocalCatalogs(tmp_path), request, AstrometrySettings(), ra=ra, dec=10.0, radius=1.0, minimum=30
        )
    assert f"{said} `nightflow catalog import`" in str(told.value)
