"""Nights of cameras that have chips of several amplifiers, or several chips: raw files to electrons."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from numpy.typing import NDArray
from typer.testing import CliRunner

from nightflow.cli import app
from nightflow.flags import Flag
from nightflow.simulate import CameraPlan, FieldPlan, NightPlan, quadrants, write_mosaic, write_night
from nightflow.simulate.amplifiers import in_order_of_readout
from nightflow.simulate.mosaic import prepare_mosaic
from nightflow.simulate.night import expected_light
from nightflow.simulate.prepare import Night, frame_stream, prepare_night
from tests.unit.commands.conftest import Observatory

pytestmark = pytest.mark.xdist_group("commands")

SHAPE = (240, 320)
NONLINEARITIES = (0.03, 0.06, 0.02, 0.05)
CROSSTALK = (
    (0.0, 2e-3, -1e-3, 5e-4),
    (1e-3, 0.0, 3e-3, 0.0),
    (0.0, 1e-3, 0.0, 2e-3),
    (4e-3, 0.0, 1e-3, 0.0),
)
FAULTS = {"hot_fraction": 0.0, "n_dead_columns": 0, "cosmic_rate": 0.0, "dark_rate": 0.2}
MEF = NightPlan.small(
    n_bias=9,
    n_dark=5,
    n_flat=9,
    n_lights=3,
    field=FieldPlan(faint_limit=16.0),
    camera=CameraPlan(
        name="MEF",
        shape=SHAPE,
        amplifiers=quadrants(SHAPE, nonlinearities=NONLINEARITIES),
        crosstalk=CROSSTALK,
        **FAULTS,
    ),
)
SIDES = ("right", "left", "top", "bottom")
MOSAIC = NightPlan.small(
    n_bias=7,
    n_dark=5,
    n_flat=7,
    n_lights=2,
    field=FieldPlan(faint_limit=16.0),
    mosaic=tuple(
        CameraPlan(
            name=f"CCD{number}",
            shape=(160, 200),
            center_offset=(120.0 * (-1) ** number, 100.0 * (-1) ** (number // 2)),
            overscan_side=side,
            gain=1.3 + 0.1 * number,
            bias_level=900.0 + 60.0 * number,
            **FAULTS,
        )
        for number, side in enumerate(SIDES, start=1)
    ),
)


def corrections() -> str:
    """Return a profile for the camera of `MEF`: the simulator's, with what is known of its amplifiers."""
    true = np.linspace(0.0, 66000.0, 301)
    tables = [
        np.column_stack([true * (1.0 - loss / 50000.0 * true), true]).round(3).tolist()
        for loss in NONLINEARITIES
    ]
    lines = [
        'name = "mef"',
        'extends = "simulator"',
        'recognise = { INSTRUME = "^nightflow-sim$", DETECTOR = "^MEF$" }',
        "[detector]",
        f"crosstalk.all = {[list(row) for row in CROSSTALK]}",
        *(f"linearity.{name}.table = {table}" for name, table in zip("ABCD", tables, strict=True)),
    ]
    return "\n".join(lines)


def reduce(root: Path, raw: Path, profile: str = "") -> Observatory:
    assert CliRunner().invoke(app, ["init", str(root)]).exit_code == 0
    dome = Observatory(root, raw)
    if profile:
        (root / "cameras").mkdir(exist_ok=True)
        (root / "cameras" / "mine.toml").write_text(profile)
    run = dome("run", str(raw), "--until", "calibrate")
    assert run.exit_code == 0, run.output
    return dome


def reduced_lights(dome: Observatory) -> dict[tuple[str, str], fits.HDUList]:
    """Return (raw file, chip) -> reduced frame."""
    found = {}
    for row in json.loads(dome("frames", "--format", "json").stdout):
        if row["kind"] == "light":
            raw = Path(row["path"])
            products = dome.products.glob(f"{raw.stem}-*.fits")
            (path,) = [one for one in products if fits.getheader(one)["DETECTOR"] == row["detector"]]
            found[raw.name, row["detector"]] = _loaded(path)
    return found


def _loaded(path: Path) -> fits.HDUList:
    with fits.open(path, memmap=False, lazy_load_hdus=False) as hdus:
        return fits.HDUList([hdu.copy() for hdu in hdus])


def truth(night: Night, name: str) -> NDArray[np.float64]:
    """Return the electrons that stars and sky would free, the stars' twinkling included."""
    number = int(re.match(r"\d+", name)[0])
    scheduled = night.schedule[number - 1]
    return expected_light(night, scheduled, frame_stream(night.plan, number))[0]


def pulls(reduced: fits.HDUList, light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the residual in units of its error, NaN where a star saturates."""
    pull = (reduced[0].data - light) / reduced["UNCERT"].data
    return np.where(reduced["FLAGS"].data & int(Flag.SATURATED), np.nan, pull)


def masters(dome: Observatory) -> Counter[tuple[str, str]]:
    rows = json.loads(dome("masters", "list", "--format", "json").stdout)
    return Counter((row["detector"], row["kind"]) for row in rows)


def borders(shape: tuple[int, int]) -> list[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Return pairs of strips on the two sides of each border between the quadrants."""
    (ny, nx), width = shape, 8
    y, x = ny // 2, nx // 2
    lower, upper, left, right = slice(0, y), slice(y, ny), slice(0, x), slice(x, nx)
    across_x, across_y = (
        (slice(x - width, x), slice(x, x + width)),
        (slice(y - width, y), slice(y, y + width)),
    )
    return [((rows, across_x[0]), (rows, across_x[1])) for rows in (lower, upper)] + [
        ((across_y[0], columns), (across_y[1], columns)) for columns in (left, right)
    ]


def patterns(night: Night, light: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return the electrons that crosstalk added to each pixel, and those that non-linearity took."""
    camera, flat = night.plan.camera, night.detector.flat
    electrons = light * flat + night.detector.dark_rate * night.plan.exptime
    signals = [in_order_of_readout(electrons, one) / one.gain for one in camera.amplifiers]
    ghost, loss = np.zeros(camera.shape), np.zeros(camera.shape)
    for victim, one in enumerate(camera.amplifiers):
        leaks = zip(camera.crosstalk[victim], signals, strict=True)
        in_order_of_readout(ghost, one)[...] = one.gain * sum(share * signal for share, signal in leaks)
        in_order_of_readout(loss, one)[...] = one.gain * one.nonlinearity / 50000 * signals[victim] ** 2
    return {"ghost": ghost / flat, "loss": loss / flat}


def slopes_on_patterns(dome: Observatory) -> dict[str, float]:
    """Return the weighted regression of all lights' residuals on each pattern: 1 where it is all there."""
    night = prepare_night(MEF)
    sums: dict[str, NDArray[np.float64]] = {}
    for (name, _), reduced in reduced_lights(dome).items():
        light = truth(night, name)
        # Cores of stars look like cosmic rays at this sampling, and are where the patterns are strongest.
        good = (reduced["FLAGS"].data & ~int(Flag.COSMIC_RAY)) == 0
        weight = good / reduced["UNCERT"].data.astype(float) ** 2
        residual = reduced[0].data - light
        residual -= np.average(residual, weights=weight)
        for kind, pattern in patterns(night, light).items():
            pattern = pattern - np.average(pattern, weights=weight)
            products = np.array([(weight * pattern * residual).sum(), (weight * pattern**2).sum()])
            sums[kind] = sums.get(kind, 0.0) + products
    return {kind: float(products[0] / products[1]) for kind, products in sums.items()}


@pytest.fixture(scope="module")
def simulated_mef(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mef")
    write_night(MEF, folder)
    return folder


@pytest.fixture(scope="module")
def mef(simulated_mef: Path) -> Observatory:
    return reduce(simulated_mef / "dome", simulated_mef / "raw", corrections())


@pytest.fixture(scope="module")
def mosaic(tmp_path_factory: pytest.TempPathFactory) -> Observatory:
    folder = tmp_path_factory.mktemp("mosaic")
    write_mosaic(MOSAIC, folder)
    return reduce(folder / "dome", folder / "raw")


def test_four_amplifiers_are_one_chip_with_one_set_of_masters(mef: Observatory) -> None:
    rows = json.loads(mef("frames", "--format", "json").stdout)
    assert len(rows) == 9 + 5 + 9 + 3
    assert {(row["detector"], row["hdu"], row["state"]) for row in rows} == {("MEF", 1, "done")}
    assert masters(mef) == {("MEF", kind): 1 for kind in ("bias", "dark", "flat")}


def test_four_amplifiers_come_out_as_the_sky_within_noise(mef: Observatory) -> None:
    night = prepare_night(MEF)
    for (name, _), reduced in reduced_lights(mef).items():
        assert reduced[0].data.shape == SHAPE
        pull = pulls(reduced, truth(night, name))
        assert np.nanstd(pull) == pytest.approx(1, abs=0.03)
        assert np.nanmean(pull) == pytest.approx(0, abs=0.05)
        for amplifier in night.plan.camera.amplifiers:
            part = pull[slice(*amplifier.rows), slice(*amplifier.columns)]
            assert np.nanstd(part) == pytest.approx(1, abs=0.04), amplifier.name


def test_no_step_is_left_at_the_amplifiers_borders(mef: Observatory) -> None:
    night = prepare_night(MEF)
    for (name, _), reduced in reduced_lights(mef).items():
        residual = reduced[0].data - truth(night, name)
        for one, other in borders(SHAPE):
            error = np.hypot(*(residual[side].std() / residual[side].size ** 0.5 for side in (one, other)))
            assert abs(residual[one].mean() - residual[other].mean()) < 4 * error


def test_crosstalk_and_nonlinearity_are_removed_to_a_twentieth(mef: Observatory, simulated_mef: Path) -> None:
    left = slopes_on_patterns(mef)
    assert abs(left["ghost"]) < 0.05
    assert abs(left["loss"]) < 0.05
    untouched = slopes_on_patterns(reduce(simulated_mef / "plain", simulated_mef / "raw"))
    assert untouched["ghost"] > 0.5
    assert untouched["loss"] < -0.5


def test_each_chip_of_a_mosaic_has_its_own_frame_and_masters(mosaic: Observatory) -> None:
    rows = json.loads(mosaic("frames", "--format", "json").stdout)
    assert Counter(row["detector"] for row in rows) == {f"CCD{n}": 7 + 5 + 7 + 2 for n in (1, 2, 3, 4)}
    assert {row["state"] for row in rows} == {"done"}
    assert masters(mosaic) == {
        (f"CCD{n}", kind): 1 for n in (1, 2, 3, 4) for kind in ("bias", "dark", "flat")
    }
    used = {row["detector"]: row["masters"] for row in rows if row["kind"] == "light"}
    assert len(set(used.values())) == 4


def test_each_chip_of_a_mosaic_comes_out_as_the_sky_within_noise(mosaic: Observatory) -> None:
    nights = {night.plan.camera.name: night for night in prepare_mosaic(MOSAIC)}
    lights = reduced_lights(mosaic)
    assert len(lights) == 2 * 4
    for (name, chip), reduced in lights.items():
        assert reduced[0].data.shape == (160, 200)
        pull = pulls(reduced, truth(nights[chip], name))
        assert np.nanstd(pull) == pytest.approx(1, abs=0.04)
        assert np.nanmean(pull) == pytest.approx(0, abs=0.06)
