"""`nightflow scamp` on rendered pixels: two chips, two exposures, against the simulator's own truth."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from sqlmodel import col, select
from typer.testing import CliRunner

from nightflow.astrometry.solution import Solution
from nightflow.astrometry.wcs_header import wcs_from_text, wcs_to_text
from nightflow.cli import app
from nightflow.errors import NoSolution
from nightflow.pipeline import reducer, solve
from nightflow.pipeline.work import Context, Work
from nightflow.simulate import CameraPlan, FieldPlan, NightPlan, write_mosaic
from nightflow.store.models import Exposure, Frame, Reduction
from tests.unit.commands.conftest import NIGHT, Observatory

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("commands")]

FAULTS = {"hot_fraction": 0.0, "n_dead_columns": 0, "cosmic_rate": 0.0, "dark_rate": 0.0}
SHAPE = (400, 420)
PLAN = NightPlan.small(
    n_bias=3,
    n_dark=0,
    n_flat=0,
    n_lights=2,
    field=FieldPlan(faint_limit=17.0),
    mosaic=tuple(
        CameraPlan(name=f"CCD{number}", shape=SHAPE, center_offset=(offset, 0.0), **FAULTS)
        for number, offset in ((1, 230.0), (2, -230.0))
    ),
)


@pytest.fixture(scope="module")
def mosaic(tmp_path_factory: pytest.TempPathFactory) -> Observatory:
    """A night of two chips, reduced."""
    night, root = tmp_path_factory.mktemp("mosaic"), tmp_path_factory.mktemp("reduced") / "dome"
    write_mosaic(PLAN, night)
    assert CliRunner().invoke(app, ["init", str(root)]).exit_code == 0
    dome = Observatory(root, night / "raw")
    assert dome("catalog", "import", str(night / "catalog.csv"), "--name", "field").exit_code == 0
    run = dome("run", str(dome.raw))
    assert run.exit_code == 0, run.output
    return dome


@pytest.fixture
def dome(mosaic: Observatory, tmp_path: Path) -> Observatory:
    shutil.copytree(mosaic.root, tmp_path / "dome")
    return Observatory(tmp_path / "dome", mosaic.raw)


def lights(dome: Observatory) -> list[str]:
    return sorted(path.name for path in dome.raw.glob("*light*"))


def worst_error(dome: Observatory, light: str, chip: str, header: fits.Header) -> float:
    """Return the largest distance (arcsec) of a chip's WCS from the simulator's, corners included."""
    truth = json.loads((dome.raw.parent / chip / "truth.json").read_text())
    frame = next(one for one in truth["frames"] if one["name"] == light)
    true = WCS(naxis=2)
    true.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    true.wcs.crval = [frame["crval1"], frame["crval2"]]
    true.wcs.crpix = [frame["crpix1"], frame["crpix2"]]
    true.wcs.cd = [[frame["cd1_1"], frame["cd1_2"]], [frame["cd2_1"], frame["cd2_2"]]]
    ny, nx = SHAPE
    x, y = (axis.ravel() for axis in np.meshgrid(np.linspace(1, nx, 5), np.linspace(1, ny, 5)))
    found = SkyCoord(*WCS(header).all_pix2world(x, y, 1), unit="deg")
    return float(found.separation(SkyCoord(*true.all_pix2world(x, y, 1), unit="deg")).arcsec.max())


@pytest.mark.parametrize("detections", ["own", "source-extractor"])
def test_two_chips_together(mosaic: Observatory, tmp_path: Path, detections: str) -> None:
    """To a tenth of a pixel of 3" in the corners: 30 stars a chip tell no more."""
    light, out = lights(mosaic)[0], tmp_path / "out"
    done = mosaic("scamp", light, "--out", str(out), "--detections", detections, "--format", "json")
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    assert [(row["path"], row["detector"], row["wcs_quality"]) for row in rows] == [
        (light, "CCD1", "verified"),
        (light, "CCD2", "verified"),
    ]
    assert min(row["n_scamp"] for row in rows) >= 10
    for chip in ("CCD1", "CCD2"):
        header = fits.Header.fromfile(out / f"{chip}_img.head", padding=True)
        assert worst_error(mosaic, light, chip, header) < 0.3
    names = {path.name for path in out.iterdir()}
    assert {"combined_acat.fits", "combined_acat.head", "gaia_ldac.fits", "merged_1.cat"} <= names
    assert (out / "radec_off.png").read_bytes().startswith(b"\x89PNG")
    assert len((out / "scamp_coord.txt").read_text().splitlines()) > 60


def reductions(dome: Observatory, light: str) -> list[Reduction]:
    """Return all versions of a light's chips."""
    with dome.database as database, database.session() as session:
        rows = (
            select(Reduction)
            .join(Frame, col(Frame.id) == Reduction.frame_id)
            .join(Exposure, col(Exposure.id) == Frame.exposure_id)
            .where(col(Exposure.path).endswith(light))
            .order_by(col(Frame.detector), col(Reduction.version))
        )
        return list(session.exec(rows))


def spoil(dome: Observatory, light: str, *chips: str) -> None:
    """Let the store hold a WCS that is believed, and a pixel off in the corners, as its stars there say."""
    with dome.database as database, database.write() as session:
        for row in reductions(dome, light):
            if not row.current or (chips and session.get_one(Frame, row.frame_id).detector not in chips):
                continue
            wcs = wcs_from_text(row.wcs)
            wcs.wcs.cd = wcs.wcs.cd * 1.003
            kept = session.get_one(Reduction, row.id)
            kept.wcs, kept.wcs_corner_rms_arcsec = wcs_to_text(wcs), 2.5


def test_a_better_wcs_goes_into_the_store(dome: Observatory) -> None:
    light = lights(dome)[1]
    spoil(dome, light)
    products = sorted(dome.products.glob(f"{Path(light).stem}-*.fits"))
    assert len(products) == 2
    pixels = [fits.getdata(path, ext=("UNCERT", 1)).copy() for path in products]
    stood = reductions(dome, light)
    looked = dome("scamp", light, "--format", "json")
    assert looked.exit_code == 0, looked.output
    assert "2 chips would gain: `--update` takes that into the store" in looked.stderr
    assert reductions(dome, light) == stood
    done = dome("scamp", light, "--update", "--learn", str(dome.root / "cameras.ahead"), "--format", "json")
    assert done.exit_code == 0, done.output
    for row, seen, old in zip(json.loads(done.stdout), json.loads(looked.stdout), stood, strict=True):
        assert (row["in_store"], seen["in_store"]) == ("scamp", old.wcs_backend)
        assert row["reason"] == seen["reason"]
        after, before = map(float, re.findall(r'([0-9.]+)"', row["reason"]))
        assert 0.0 < after < before < 6.0
    for path, before in zip(products, pixels, strict=True):
        with fits.open(path, checksum=True) as hdus:
            header = hdus[0].header
            assert header["WCS_S"] == 0
            assert header["WCS_V"] == "SCAMP"
            assert any("scamp: verified" in line for line in header["HISTORY"])
            assert worst_error(dome, light, header["NFDETECT"], header) < 0.3
            np.testing.assert_array_equal(hdus["UNCERT"].data, before)
    rows = reductions(dome, light)
    assert [(row.version, row.current) for row in rows] == [(1, False), (2, True)] * 2
    for chip, row in zip(("CCD1", "CCD2"), rows[1::2], strict=True):
        assert (row.wcs_backend, row.wcs_quality) == ("scamp", "verified")
        assert worst_error(dome, light, chip, wcs_from_text(row.wcs).to_header(relax=True)) < 0.3
        assert row.zp is not None
    (folder,) = dome.products.glob("scamp-*")
    assert (folder / "CCD2_img.head").is_file()
    learned = (dome.root / "cameras.ahead").read_text()
    assert learned.count("END\n") == 2
    assert learned.count("EXTNAME = 'CCD") == 2
    again = dome("run", str(dome.raw))
    assert again.exit_code == 0, again.output
    assert reductions(dome, light) == rows


def test_a_wcs_that_is_no_better_changes_nothing(dome: Observatory) -> None:
    """The camera's optics are straight: each chip's own stars have said all there is to say."""
    light = lights(dome)[1]
    before = reductions(dome, light)
    files = {path: path.read_bytes() for path in dome.products.glob(f"{Path(light).stem}-*")}
    assert len(files) == 4
    done = dome("scamp", light, "--update", "--format", "json")
    assert done.exit_code == 0, done.output
    for row, kept in zip(json.loads(done.stdout), before, strict=True):
        assert row["in_store"] == kept.wcs_backend != "scamp"
        assert row["reason"].endswith(f"{kept.wcs_backend} stands")
    assert reductions(dome, light) == before
    assert {path: path.read_bytes() for path in files} == files


def unsolved(monkeypatch: pytest.MonkeyPatch, dome: Observatory, light: str, chip: str) -> None:
    """Let the ladder have no answer for a chip of an exposure that is reduced again."""
    climb = solve.climb

    def no_answer(work: Work, context: Context) -> dict[str, Any]:
        def nothing(*_: object, **__: object) -> Solution:
            raise NoSolution("no rung has an answer", [])

        hard = work.path.name == light and work.header.detector == chip
        with monkeypatch.context() as patch:
            patch.setattr(solve, "climb", nothing if hard else climb)
            return solve.solve(work, context)

    with monkeypatch.context() as patch:
        patch.setitem(reducer._WORKERS, "solve", no_answer)
        for row in reductions(dome, light):
            forget(dome, row)
        done = dome("run", "--force", str(dome.raw / light))
        assert done.exit_code == 0, done.output


def forget(dome: Observatory, row: Reduction) -> None:
    """Let an old reduction be none that a new one without a WCS would have to give way to."""
    with dome.database as database, database.write() as session:
        kept = session.get_one(Reduction, row.id)
        kept.wcs, kept.wcs_quality, kept.wcs_backend = "", "none", None


def states(dome: Observatory, light: str) -> list[str]:
    with dome.database as database, database.session() as session:
        chips = select(Frame).join(Exposure).where(col(Exposure.path).endswith(light))
        return [frame.state for frame in session.exec(chips.order_by(col(Frame.detector)))]


def test_a_chip_that_the_ladder_cannot_solve_gets_a_wcs(
    dome: Observatory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other frame shows where it lies beside its neighbour; that is not touched."""
    light = lights(dome)[1]
    unsolved(monkeypatch, dome, light, "CCD2")
    assert states(dome, light) == ["done", "held"]
    neighbour = next(row for row in reductions(dome, light) if row.current)
    done = dome("scamp", *lights(dome), "--update", "--format", "json")
    assert done.exit_code == 0, done.output
    (row,) = (row for row in json.loads(done.stdout) if row["in_store"] == "scamp")
    assert (row["path"], row["detector"], row["reason"]) == (light, "CCD2", "it had no verified WCS")
    chips = reductions(dome, light)
    new = chips[-1]
    assert (new.current, new.wcs_backend, new.wcs_quality) == (True, "scamp", "verified")
    assert worst_error(dome, light, "CCD2", wcs_from_text(new.wcs).to_header(relax=True)) < 0.3
    assert [row for row in chips if row.current and row.frame_id == neighbour.frame_id] == [neighbour]
    assert states(dome, light) == ["done", "done"]
    assert dome("run", str(dome.raw)).exit_code == 0
    assert reductions(dome, light) == chips


def test_a_neighbour_keeps_the_wcs_that_only_scamp_could_say(
    dome: Observatory, monkeypatch: pytest.MonkeyPatch
) -> None:
    light = lights(dome)[1]
    unsolved(monkeypatch, dome, light, "CCD2")
    assert dome("scamp", *lights(dome), "--update").exit_code == 0
    joint = reductions(dome, light)[-1]
    assert (joint.current, joint.wcs_backend) == (True, "scamp")
    spoil(dome, light, "CCD1")
    done = dome("scamp", *lights(dome), "--update", "--format", "json")
    assert done.exit_code == 0, done.output
    rows = {row["detector"]: row for row in json.loads(done.stdout) if row["path"] == light}
    assert rows["CCD1"]["in_store"] == "scamp"
    assert rows["CCD1"]["reason"].startswith("stars that SCAMP was not given: ")
    assert reductions(dome, light)[-1] == joint


def test_an_exposure_that_has_to_be_reduced_again_anyway_is_left_to_a_run(dome: Observatory) -> None:
    light = lights(dome)[1]
    spoil(dome, light)
    before = reductions(dome, light)
    settings = dome.root / "nightflow.toml"
    settings.write_text(settings.read_text() + '\n[astrometry]\nladder = ["hint"]\n')
    done = dome("scamp", light, "--update", "--format", "json")
    assert done.exit_code == 0, done.output
    for row in json.loads(done.stdout):
        assert "`nightflow run` it first" in row["reason"]
    assert reductions(dome, light) == before


def test_without_products_those_of_an_older_version_stay_as_they_were(dome: Observatory) -> None:
    light = lights(dome)[1]
    spoil(dome, light)
    settings = dome.root / "nightflow.toml"
    settings.write_text(settings.read_text().replace("products = true", "products = false", 1))
    files = {path: path.read_bytes() for path in dome.products.glob(f"{Path(light).stem}-*")}
    assert len(files) == 4
    done = dome("scamp", light, "--update", "--format", "json")
    assert done.exit_code == 0, done.output
    assert [row["in_store"] for row in json.loads(done.stdout)] == ["scamp"] * 2
    assert f"next: `nightflow finish {NIGHT}`, which" in done.stderr
    assert "new WCS: 2 chips in the store, 0 in reduced frames" in done.stderr
    assert {path: path.read_bytes() for path in files} == files


def test_a_distortion_that_other_frames_lent_stands(dome: Observatory) -> None:
    light = lights(dome)[1]
    spoil(dome, light)
    with dome.database as database, database.write() as session:
        for row in reductions(dome, light):
            session.get_one(Reduction, row.id).wcs_distortion = "0" * 64
    before = reductions(dome, light)
    done = dome("scamp", light, "--update", "--format", "json")
    assert done.exit_code == 0, done.output
    for answer, row in zip(json.loads(done.stdout), before, strict=True):
        assert answer["reason"] == f"other frames lent their distortion: {row.wcs_backend} stands"
    assert reductions(dome, light) == before


def test_frames_of_a_field_together(mosaic: Observatory, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert mosaic("scamp", lights(mosaic)[0], "--out", str(out)).exit_code == 0
    done = mosaic("scamp", *lights(mosaic), "--out", str(out), "--format", "json")
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.stdout)) == 4
    assert len(list(out.glob("*_CCD1_img.head"))) == 2
    assert len(list(out.glob("*-e*.head"))) == 6
    assert not list(out.glob("combined_acat.*"))


def test_what_cannot_be_solved_is_said(
    dome: Observatory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        absent = dome("scamp", lights(dome)[0])
    assert absent.exit_code == 1
    assert "apt install scamp" in absent.stderr
    bias = sorted(path.name for path in dome.raw.glob("*bias*"))[0]
    refused = dome("scamp", bias)
    assert refused.exit_code == 1
    assert "only lights have stars" in refused.stderr
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    taken = dome("scamp", lights(dome)[0], "--out", str(tmp_path / "full"))
    assert taken.exit_code == 1
    assert "name another folder" in taken.stderr
    shutil.rmtree(dome.root / "catalogs")
    blind = dome("scamp", lights(dome)[0])
    assert blind.exit_code == 1
    assert "catalogue stars" in blind.stderr
    assert NIGHT in str(dome.products)
