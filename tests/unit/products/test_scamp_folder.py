"""The folder of a joint solution, of answers that are made up: SCAMP need not be there."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from nightflow.astrometry.plate import plate_from_wcs
from nightflow.astrometry.scamp.frames import ChipAnswer, ChipFrame, Exposure, Together
from nightflow.astrometry.scamp.headers import tpv_header
from nightflow.astrometry.scamp.ldac import read_ldac
from nightflow.astrometry.solution import Quality, Solution
from nightflow.errors import ConfigurationError
from nightflow.products import scamp_folder
from nightflow.products.scamp_folder import check_scamp_folder, chip_files, chip_offsets, write_scamp_folder
from tests.unit.astrometry.synthetic import SHAPE, make_request, make_stars, make_wcs

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
STARS = make_stars(80.0, 10.0, 1.2, 900)
WCSS = {"A": make_wcs(79.7, 10.0, distortion=4.0), "B/..": make_wcs(80.6, 10.0)}
EXPOSURE = Exposure(
    name="combined_acat",
    chips=tuple(
        ChipFrame(name=name, request=make_request(wcs, STARS, noise=0.02, seed=k), start=wcs)
        for k, (name, wcs) in enumerate(WCSS.items())
    ),
    mjd=60000.0,
)


def answer(chip: ChipFrame, solved: bool = True) -> ChipAnswer:
    wcs = chip.start
    assert wcs is not None
    solution = Solution(
        wcs=wcs,
        backend="scamp",
        quality=Quality.VERIFIED,
        rms_arcsec=0.1,
        heldout_rms_arcsec=0.1,
        n_matched=50,
        ra_center=80.0,
        dec_center=10.0,
        scale=3.0,
        rotation=0.0,
        parity=1,
        catalog="made-up",
    )
    return ChipAnswer(
        exposure="combined_acat",
        chip=chip.name,
        solution=solution if solved else None,
        reason="" if solved else "too few stars",
        head=tpv_header(plate_from_wcs(wcs, SHAPE), SHAPE),
        n_scamp=50,
        used=np.arange(0, len(chip.request.x), 2),
    )


@pytest.fixture
def scamp(tmp_path: Path) -> Path:
    """What SCAMP leaves."""
    folder = tmp_path / "scamp"
    folder.mkdir()
    for name in ("combined_acat.fits", "combined_acat.head", "gaia_ldac.fits", "nightflow.scamp"):
        (folder / name).write_text(name)
    (folder / "merged_1.cat").write_text("merged")
    return folder


def write(folder: Path, scamp: Path, *solved: bool) -> list[Path]:
    together = Together(
        answers=tuple(answer(chip, one) for chip, one in zip(EXPOSURE.chips, solved, strict=True)),
        stars=STARS,
        degree=3,
    )
    offsets = chip_offsets([EXPOSURE], together)
    return write_scamp_folder(folder, scamp, [EXPOSURE], together, offsets, b"PNG", now=NOW)


def test_layout(tmp_path: Path, scamp: Path) -> None:
    files = write(tmp_path / "out", scamp, True, True)
    assert {path.name for path in files} == {path.name for path in (tmp_path / "out").iterdir()}
    assert {path.name for path in files} == {
        "A_img.head", "B_img.head", "combined_acat.change.fits", "combined_acat.fits", "combined_acat.head",
        "gaia_ldac.fits", "merged_1.cat", "nightflow.scamp", "radec_off.png", "scamp_coord.txt",
    }  # fmt: skip


def test_chip_headers_are_fits_headers_of_the_same_sky(tmp_path: Path, scamp: Path) -> None:
    write(tmp_path / "out", scamp, True, True)
    raw = (tmp_path / "out" / "A_img.head").read_bytes()
    assert len(raw) % 2880 == 0
    header = fits.Header.fromfile(tmp_path / "out" / "A_img.head", padding=True)
    assert (header["CTYPE1"], header["PCSCAMP"], header["WCS_S"]) == ("RA---TPV", True, 0)
    assert header["WCS_TOL"] == "2026-05-01T12:00:00+00:00"
    corner = WCS(header).all_pix2world([[900.0, 700.0]], 0)
    np.testing.assert_allclose(corner, WCSS["A"].all_pix2world([[900.0, 700.0]], 0), atol=1e-8)
    # 0.02 pixels of 3"
    assert header["RARMS"] == pytest.approx(60.0, rel=0.35)
    assert abs(header["RAOFF"]) < 25.0
    linear = fits.Header.fromfile(tmp_path / "out" / "B_img.head", padding=True)
    assert (linear["CTYPE1"], linear["PCSCAMP"]) == ("RA---TAN", False)


def test_all_stars_have_their_places(tmp_path: Path, scamp: Path) -> None:
    write(tmp_path / "out", scamp, True, True)
    first, second = read_ldac(tmp_path / "out" / "combined_acat.change.fits")
    assert (len(first.stars), len(second.stars)) == tuple(len(chip.request.x) for chip in EXPOSURE.chips)
    with fits.open(tmp_path / "out" / "combined_acat.change.fits") as hdus:
        rows = hdus[2].data
        places = np.column_stack([rows["ALPHAWIN_J2000"], rows["DELTAWIN_J2000"]])
        # FITS pixels: origin 1
        pixels = np.column_stack([rows["XWIN_IMAGE"], rows["YWIN_IMAGE"]])
    np.testing.assert_allclose(places, WCSS["A"].all_pix2world(pixels, 1), atol=1e-9)
    listed = np.loadtxt(tmp_path / "out" / "scamp_coord.txt")
    assert len(listed) == len(first.stars) + len(second.stars)
    np.testing.assert_allclose(listed[: len(places)], places, atol=1e-9)
    lines = (tmp_path / "out" / "scamp_coord.txt").read_text().splitlines()
    assert all(len(word.split(".")[1]) == 10 for word in lines[0].split())


def test_a_refused_chip_has_no_wcs_and_says_so(tmp_path: Path, scamp: Path) -> None:
    write(tmp_path / "out", scamp, True, False)
    header = fits.Header.fromfile(tmp_path / "out" / "B_img.head", padding=True)
    assert header["WCS_S"] == 1
    assert "CRVAL1" not in header
    assert len(np.loadtxt(tmp_path / "out" / "scamp_coord.txt")) == len(EXPOSURE.chips[0].request.x)


OLD = (
    "old_img.head",
    "full_2.cat",
    "merged_2.cat",
    "light-e12.fits",
    "light-e12.change.fits",
    "light-e12.ahead",
)
MINE = ("notes.txt", "mine.cat", "mine.fits")


def earlier(folder: Path, scamp: Path) -> None:
    """Leave files of an earlier solution with more exposures, before marks had a list, and the user's own."""
    write(folder, scamp, True, True)
    (folder / "nightflow.scamp").write_text("VERBOSE_TYPE QUIET\n")
    for name in (*OLD, *MINE):
        (folder / name).write_text(name)


def test_a_second_solution_takes_the_place_of_the_first(tmp_path: Path, scamp: Path) -> None:
    out = tmp_path / "out"
    earlier(out, scamp)
    files = write(out, scamp, True, True)
    assert {path.name for path in out.iterdir()} == {path.name for path in files} | set(MINE)
    assert (out / "mine.fits").read_text() == "mine.fits"


def test_a_users_own_files_stay_whatever_their_names(tmp_path: Path, scamp: Path) -> None:
    out = tmp_path / "out"
    (scamp / "full_2.cat").write_text("of the first")
    write(out, scamp, True, True)
    own = {"my-notes-e3.fits", "old_img.head", "merged_7.cat"}
    for name in own:
        (out / name).write_text("mine")
    (scamp / "full_2.cat").unlink()
    files = write(out, scamp, True, True)
    assert {path.name for path in out.iterdir()} == {path.name for path in files} | own
    assert "full_2.cat" not in {path.name for path in files}
    listed = (out / "nightflow.scamp").read_text().splitlines()
    assert listed[0] == "nightflow.scamp", "what SCAMP was told comes first"
    assert len(listed) == len(files), "each of the others, once"


def test_what_a_killed_run_left_is_no_hindrance_and_goes_in_time(tmp_path: Path, scamp: Path) -> None:
    out = tmp_path / "out"
    fresh, old = (out / f".{digit * 32}.tmp" for digit in "ab")
    for folder, hours in ((fresh, 0.5), (old, 2.0)):
        folder.mkdir(parents=True)
        (folder / "combined_acat.fits").write_text("half of it")
        then = NOW.timestamp() - 3600 * hours
        os.utime(folder, (then, then))
    check_scamp_folder(out)
    files = write(out, scamp, True, True)
    assert {path.name for path in out.iterdir()} == {path.name for path in files} | {fresh.name}


@pytest.mark.parametrize("number", [0, 1, 4])
def test_a_failure_in_the_middle_leaves_no_mixture(
    tmp_path: Path, scamp: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    out = tmp_path / "out"
    earlier(out, scamp)
    calls = iter(range(100))
    replace_file = Path.replace

    def failing(self: Path, target: Path) -> Path:
        if next(calls) == number:
            raise OSError(errno.EIO, "Input/output error", str(target))
        return replace_file(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", failing)
        with pytest.raises(ConfigurationError, match=r"out: cannot be written: .*Input/output.*--out FOLDER"):
            write(out, scamp, True, True)
    left = {path.name for path in out.iterdir()}
    assert len(left - set(MINE)) == max(number, 1)
    assert not left & set(OLD)
    assert set(MINE) | {"nightflow.scamp"} <= left
    files = write(out, scamp, True, True)
    assert {path.name for path in out.iterdir()} == {path.name for path in files} | set(MINE)


def test_a_full_disk_leaves_the_old_set(tmp_path: Path, scamp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    earlier(out, scamp)
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(scamp_folder, "write_ldac", full)
    with pytest.raises(ConfigurationError, match="No space left"):
        write(out, scamp, True, True)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, scamp: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    with pytest.raises(ConfigurationError, match="name another folder"):
        write(tmp_path / "out", scamp, True, True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]


def test_a_folder_that_cannot_be_written_is_named_with_the_mend(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^/proc/self/new: cannot be written: .*--out FOLDER"):
        check_scamp_folder(Path("/proc/self/new"))
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"file: is no folder; .*--out FOLDER"):
        check_scamp_folder(tmp_path / "file" / "new")
    check_scamp_folder(tmp_path / "deep" / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("chips", "names"),
    [
        (["CCD1", "CCD2"], ["CCD1_img.head", "CCD2_img.head"]),
        ([""], ["chip_img.head"]),
        (["a/b", "a b", "../../etc"], ["a_b-1_img.head", "a_b-2_img.head", "etc_img.head"]),
    ],
)
def test_names_are_plain_and_unique(chips: list[str], names: list[str]) -> None:
    frames = tuple(replace(EXPOSURE.chips[0], name=name) for name in chips)
    assert list(chip_files([replace(EXPOSURE, chips=frames)]).values()) == names


def test_several_exposures_have_names_of_their_own() -> None:
    two = [replace(EXPOSURE, name=f"night-{k}", chips=EXPOSURE.chips[:1]) for k in (1, 2)]
    assert list(chip_files(two).values()) == ["night-1_A_img.head", "night-2_A_img.head"]
