"""Index files: the command, its failures, and a real one."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from nightflow.astrometry.build_index import PROGRAM, build_index, index_command
from nightflow.catalogs.stars import ReferenceStars
from nightflow.errors import ConfigurationError, NightflowError


def random_stars(n: int, with_magnitude: bool = True) -> ReferenceStars:
    rng = np.random.default_rng(4)
    mags = rng.uniform(8, 12, n) if with_magnitude else np.full(n, np.nan)
    return ReferenceStars(
        catalog="test",
        ra=120 + rng.uniform(-0.7, 0.7, n),
        dec=20 + rng.uniform(-0.7, 0.7, n),
        pmra=np.zeros(n),
        pmdec=np.zeros(n),
        epoch=2000.0,
        ids=np.full(n, ""),
        mags={"VT": mags},
    )


def program(folder: Path, body: str) -> str:
    path = folder / "builder"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_absent_program_is_named_with_its_mend(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no-such-builder is not installed.*apt install astrometry"):
        build_index(random_stars(50), tmp_path / "i.fits", 50.0, program="no-such-builder")


@pytest.mark.parametrize(
    ("stars", "field", "message"),
    [
        (random_stars(5), 50.0, "catalogue test: 5 stars with a magnitude"),
        (random_stars(50, with_magnitude=False), 50.0, "0 stars with a magnitude"),
        (random_stars(50), 0.0, "field_arcmin = 0.0"),
        (random_stars(50), float("nan"), "field_arcmin = nan"),
    ],
)
def test_what_cannot_make_an_index_is_refused(
    tmp_path: Path, stars: ReferenceStars, field: float, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build_index(stars, tmp_path / "i.fits", field, program=program(tmp_path, "true"))


def test_failure_of_the_program_is_told_in_its_own_words(tmp_path: Path) -> None:
    failing = program(tmp_path, "echo 'kd-tree on fire' >&2; exit 3")
    with pytest.raises(NightflowError, match="exit status 3: kd-tree on fire"):
        build_index(random_stars(50), tmp_path / "i.fits", 50.0, program=failing)


def test_success_without_a_file_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(NightflowError, match="exit status 0"):
        build_index(random_stars(50), tmp_path / "i.fits", 50.0, program=program(tmp_path, "true"))


def test_time_limit_ends_the_program_and_its_children(tmp_path: Path) -> None:
    left = tmp_path / "left"
    slow = program(tmp_path, f"(trap '' TERM; sleep 0.8; touch '{left}') & sleep 60")
    with pytest.raises(NightflowError, match=r"builder did not end in 0\.2 s.*fewer stars"):
        build_index(random_stars(50), tmp_path / "i.fits", 50.0, program=slow, time_limit=0.2)
    time.sleep(0.9)
    assert not left.exists()


def test_old_index_stays_when_the_new_one_fails(tmp_path: Path) -> None:
    old = tmp_path / "i.fits"
    old.write_text("old")
    with pytest.raises(NightflowError):
        build_index(random_stars(50), old, 50.0, program=program(tmp_path, "exit 1"))
    assert old.read_text() == "old"


def test_program_gets_the_stars_brightest_first(tmp_path: Path) -> None:
    copying = program(tmp_path, "cp stars.fits index.fits")
    output = build_index(random_stars(50), tmp_path / "new" / "i.fits", 50.0, program=copying)
    table = fits.getdata(output, 1)
    assert table.names == ["RA", "DEC", "MAG"]
    assert len(table) == 50
    assert np.all(np.diff(table["MAG"]) >= 0)


def test_quads_fit_into_the_field() -> None:
    command = index_command(50.0, 7)
    options = dict(zip(command[1:-1:2], command[2:-1:2], strict=True))
    assert command[0] == PROGRAM
    assert (float(options["-l"]), float(options["-u"])) == (8.0, 36.0)
    # Cells of a third of the field: 58.6 deg / 211 = 16.7 arcmin.
    assert (options["-N"], options["-I"]) == ("211", "7")


@pytest.mark.system
def test_real_program_makes_an_index(tmp_path: Path) -> None:
    output = build_index(random_stars(150), tmp_path / "i.fits", 50.0)
    header = fits.getheader(output)
    # At most twelve stars of one cell are taken.
    assert 140 <= header["NSTARS"] <= 150
    assert header["NQUADS"] > 300
    assert header["INDEXID"] == 32001
