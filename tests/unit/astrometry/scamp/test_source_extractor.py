"""source-extractor on painted stars: places to the pixel, and a reason where it fails."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest

from nightflow.astrometry.scamp.source_extractor import extract
from nightflow.errors import NoSolution
from nightflow.flags import Flag
from tests.unit.astrometry.processes import all_gone
from tests.unit.astrometry.scamp.test_program import fake

SHAPE = (300, 400)
SKY, FWHM = 200.0, 3.0


def painted() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return pixels, and x, y and flux of the stars in them, brightest first."""
    rng = np.random.default_rng(4)
    x, y = (axis.ravel() for axis in np.meshgrid(np.arange(30.0, 380.0, 35.0), np.arange(30.0, 280.0, 35.0)))
    x, y = x + rng.uniform(-0.5, 0.5, len(x)), y + rng.uniform(-0.5, 0.5, len(x))
    flux = np.sort(10 ** rng.uniform(3.8, 5.0, len(x)))[::-1]
    rows, columns = np.indices(SHAPE)
    sigma = FWHM / 2.355
    image = np.full(SHAPE, SKY)
    for one_x, one_y, one in zip(x, y, flux, strict=True):
        squared = (columns - one_x) ** 2 + (rows - one_y) ** 2
        image += one / (2 * np.pi * sigma**2) * np.exp(-squared / (2 * sigma**2))
    return rng.poisson(image).astype(np.float32), x, y, flux


@pytest.mark.system
def test_places_are_counted_from_zero() -> None:
    data, x, y, flux = painted()
    found = extract(data, np.sqrt(data), np.zeros(SHAPE, np.uint16), seconds=60.0)
    assert len(found) == len(x)
    nearest = [int(np.argmin(np.hypot(x - a, y - b))) for a, b in zip(found.x, found.y, strict=True)]
    dx, dy = found.x - x[nearest], found.y - y[nearest]
    # a wrong origin would be a whole pixel
    assert np.abs(np.median(dx)) < 0.02
    assert np.abs(np.median(dy)) < 0.02
    assert np.std(np.concatenate([dx, dy]) / np.tile(found.error, 2)) == pytest.approx(1.0, abs=0.35)
    np.testing.assert_allclose(found.flux, flux[nearest], rtol=0.1)
    assert (np.diff(found.flux) <= 0).all()


@pytest.mark.system
def test_stars_on_flagged_pixels_are_left_out() -> None:
    data, x, y, _ = painted()
    flags = np.zeros(SHAPE, np.uint16)
    flags[round(y[0]), round(x[0])] = Flag.SATURATED
    flags[round(y[1]), round(x[1])] = Flag.WARM
    data[round(y[2]), round(x[2])] = np.nan
    found = extract(data, np.sqrt(data), flags, seconds=60.0)

    def seen(k: int) -> bool:
        return bool(np.any(np.hypot(found.x - x[k], found.y - y[k]) < 1.0))

    assert [seen(0), seen(1), seen(2), seen(3)] == [False, True, False, True]


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("exit 2", "failed with status 2"),
        ("kill -SEGV $$", "ended by SIGSEGV"),
        ("true", "wrote no catalogue"),
        ("echo rubbish > image.cat", "image.cat: no readable"),
    ],
)
def test_no_catalogue_is_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str, said: str
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    data = np.ones(SHAPE, np.float32)
    with pytest.raises(NoSolution, match=said):
        extract(data, data, np.zeros(SHAPE, np.uint16), seconds=20.0, program=fake(tmp_path, does))
    assert list(temporary.iterdir()) == []


def test_hung_extractor_is_ended(tmp_path: Path) -> None:
    hang = fake(tmp_path, f"sleep 60 & echo $$ $! > {tmp_path}/pids; wait")
    data = np.ones(SHAPE, np.float32)
    with pytest.raises(NoSolution, match="did not end"):
        extract(data, data, np.zeros(SHAPE, np.uint16), seconds=0.7, program=hang)
    assert all_gone(tmp_path / "pids")
