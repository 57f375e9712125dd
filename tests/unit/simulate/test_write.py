"""The folder of a night."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from nightflow.simulate import NightPlan, NightTruth, write_night
from nightflow.simulate.plan import CameraPlan, FieldPlan, TelescopePlan

PLAN = NightPlan.small(
    n_bias=2,
    n_dark=1,
    n_flat=1,
    n_lights=3,
    filters=("V", "I"),
    camera=CameraPlan(shape=(128, 160)),
    field=FieldPlan(n_variables=3),
    telescope=TelescopePlan(scale=9.0),
)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> tuple[NightTruth, Path]:
    folder = tmp_path_factory.mktemp("night")
    return write_night(PLAN, folder), folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


def test_frames_are_complete_and_nothing_temporary_is_left(night: tuple[NightTruth, Path]) -> None:
    truth, folder = night
    assert sorted(path.name for path in (folder / "raw").iterdir()) == [frame.name for frame in truth.frames]
    assert len(truth.frames) == 2 + 1 + 2 + 3
    for frame in truth.frames:
        assert fits.getdata(folder / "raw" / frame.name).shape == (128, 192)


def test_truth_is_json_without_nan(night: tuple[NightTruth, Path]) -> None:
    truth, folder = night
    summary = json.loads((folder / "truth.json").read_text())
    assert summary["transit"]["depth"] == 0.023
    assert summary["target"]["name"] == "HAT-P-32"
    assert summary["plan"]["seed"] == PLAN.seed
    assert summary["frames"][0]["zero_point"] is None
    assert summary["frames"][-1]["zero_point"] == truth.frames[-1].zero_point


def test_tables_hold_every_star_and_frame(night: tuple[NightTruth, Path]) -> None:
    truth, folder = night
    stars = Table.read(folder / "truth-stars.ecsv")
    assert len(stars) == len(truth.scene.stars)
    assert stars["is_target"].sum() == 1
    assert (np.asarray(stars["amplitude"]) > 0).sum() == 4
    frames = Table.read(folder / "truth-frames.ecsv")
    assert list(frames["name"]) == [frame.name for frame in truth.frames]


def test_detector_planes_are_the_truth(night: tuple[NightTruth, Path]) -> None:
    truth, folder = night
    with fits.open(folder / "truth-detector.fits") as planes:
        np.testing.assert_allclose(planes["FLAT"].data, truth.detector.flat, rtol=1e-6)
        np.testing.assert_array_equal(planes["HOT"].data, truth.detector.hot)
        assert {plane.name for plane in planes[1:]} == {"BIAS", "DARK", "FLAT", "HOT", "DEAD"}


def test_cosmic_pixels_are_listed_by_frame(night: tuple[NightTruth, Path]) -> None:
    truth, folder = night
    table = Table.read(folder / "truth-cosmics.ecsv")
    for frame in truth.frames:
        assert np.count_nonzero(table["frame"] == frame.name) == frame.n_cosmic_pixels


def test_catalogue_ends_at_its_limit_and_holds_the_target(night: tuple[NightTruth, Path]) -> None:
    truth, folder = night
    catalog = rows(folder / "catalog.csv")
    assert list(catalog[0]) == [
        *("name", "ra", "dec", "epoch", "pmra", "pmdec"),
        *("I", "I_err", "R", "R_err", "V", "V_err"),
    ]
    assert len(catalog) == np.count_nonzero(truth.scene.stars.v < PLAN.field.catalog_limit)
    near = [
        r for r in catalog if abs(float(r["ra"]) - 31.0428) < 3e-4 and abs(float(r["dec"]) - 46.6878) < 2e-4
    ]
    assert [abs(float(r["V"]) - 11.482) < 0.05 for r in near] == [True]


def test_catalogue_magnitudes_scatter_by_their_error(night: tuple[NightTruth, Path]) -> None:
    truth, folder = night
    stars = truth.scene.stars
    true_v = stars.v[stars.v < PLAN.field.catalog_limit]
    error = np.array([float(r["V"]) for r in rows(folder / "catalog.csv")]) - true_v
    assert np.std(error) == pytest.approx(0.010, rel=0.15)
    assert abs(np.mean(error)) < 0.002


def test_catalogue_positions_reach_the_night_by_proper_motion(night: tuple[NightTruth, Path]) -> None:
    truth, folder = night
    stars = truth.scene.stars
    catalog = rows(folder / "catalog.csv")
    dec, pmdec, epoch = (np.array([float(r[key]) for r in catalog]) for key in ("dec", "pmdec", "epoch"))
    moved = dec + (stars.epoch - epoch) * pmdec / 3.6e6
    np.testing.assert_allclose(moved, stars.dec[stars.v < PLAN.field.catalog_limit], atol=2e-6 / 3.6)


def test_progress_counts_every_frame(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    plan = NightPlan.small(n_bias=1, n_dark=0, n_flat=0, n_lights=1, camera=CameraPlan(shape=(64, 64)))
    write_night(plan, tmp_path / "new" / "folder", progress=lambda _, done, of: seen.append((done, of)))
    assert seen == [(1, 2), (2, 2)]


def test_night_without_transit_or_cosmic_rays(tmp_path: Path) -> None:
    plan = NightPlan.small(
        n_bias=1, n_dark=0, n_flat=0, n_lights=0, transit=None, camera=CameraPlan(shape=(64, 64))
    )
    truth = write_night(plan, tmp_path)
    assert json.loads((tmp_path / "truth.json").read_text())["transit"] is None
    assert len(Table.read(tmp_path / "truth-cosmics.ecsv")) == 0
    assert not truth.scene.light_curves
