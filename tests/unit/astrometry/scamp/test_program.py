"""SCAMP that hangs, dies, or leaves nothing usable: always a reason, never a process or an old answer."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from nightflow.astrometry.scamp.program import FULL, run_scamp, scamp_configuration
from nightflow.errors import NoSolution
from tests.unit.astrometry.processes import all_gone
from tests.unit.astrometry.scamp.test_headers import LINEAR

CONFIGURATION = scamp_configuration(degree=3, crossid_arcsec=2.0)


def fake(folder: Path, text: str) -> str:
    """Return a program that does what ``text``, a shell script, says."""
    path = folder / "fake-scamp"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def full_catalog(folder: Path, rows: list[tuple[int, int, int]], name: str = "full_1.cat") -> Path:
    """Write a catalogue with (source, catalogue, chip); catalogue 0 is the reference."""
    columns = np.array(rows, int).reshape(-1, 3).T
    names = ["SOURCE_NUMBER", "CATALOG_NUMBER", "EXTENSION"]
    table = fits.BinTableHDU(np.rec.fromarrays(list(columns), names=names), name="LDAC_OBJECTS")
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(folder / name, overwrite=True)
    return folder / name


def test_matches_are_counted_chip_by_chip(tmp_path: Path) -> None:
    (tmp_path / "answer").mkdir()
    (tmp_path / "answer" / "a.head").write_text(LINEAR * 2)
    (tmp_path / "answer" / "b.head").write_text(LINEAR)
    # source 3 has no reference star; two groups of exposures that do not overlap
    rows = [(1, 0, 1), (1, 1, 1), (1, 2, 1), (2, 0, 1), (2, 1, 2), (3, 1, 1), (3, 2, 1)]
    full_catalog(tmp_path / "answer", rows)
    full_catalog(tmp_path / "answer", [(1, 0, 1), (1, 1, 2)], "full_2.cat")
    run = run_scamp(
        tmp_path,
        ["a.fits", "b.fits"],
        [2, 1],
        CONFIGURATION,
        seconds=20.0,
        program=fake(tmp_path, "cp answer/* ."),
    )
    assert run.n_matched == ([1, 2], [1])
    assert [len(heads) for heads in run.heads] == [2, 1]


def test_configuration_is_what_it_was_told(tmp_path: Path) -> None:
    with pytest.raises(NoSolution, match=r"status 7: a\.fits -c nightflow\.scamp"):
        run_scamp(
            tmp_path,
            ["a.fits"],
            [1],
            CONFIGURATION,
            seconds=20.0,
            program=fake(tmp_path, 'echo "$@" >&2; exit 7'),
        )
    said = dict(line.split(maxsplit=1) for line in (tmp_path / "nightflow.scamp").read_text().splitlines())
    assert said["DISTORT_DEGREES"] == "3"
    assert said["ASTREF_CATALOG"] == "FILE"
    assert said["CROSSID_RADIUS"] == "2.000"


def test_hung_scamp_is_ended_with_its_children(tmp_path: Path) -> None:
    hang = f"trap '' TERM; sleep 60 & echo $$ $! > {tmp_path}/pids; wait"
    started = time.monotonic()
    with pytest.raises(NoSolution, match=r"did not end in 1\.0 s"):
        run_scamp(tmp_path, ["a.fits"], [1], CONFIGURATION, seconds=1.0, program=fake(tmp_path, hang))
    assert time.monotonic() - started < 8.0
    assert all_gone(tmp_path / "pids")


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("kill -SEGV $$", "ended by SIGSEGV"),
        ("exit 3", "failed with status 3"),
        ("true", "wrote no a.head"),
        ("cp good.head a.head", "wrote no catalogue full.cat"),
        ("cat good.head good.head > a.head", "2 headers for 1 chips"),
        ("head -c 900 good.head > a.head", "line 1[0-9]: .* is no FITS card"),
        ("head -n 15 good.head > a.head", "no END"),
        ("cp good.head a.head; echo rubbish > full_1.cat", "no readable catalogue full_1.cat"),
        ("cp good.head a.head; cp empty.fits full_1.cat", "no readable catalogue full_1.cat"),
    ],
)
def test_no_answer_is_a_reason(tmp_path: Path, does: str, said: str) -> None:
    (tmp_path / "good.head").write_text(LINEAR)
    (tmp_path / "good.head").rename(tmp_path / "good.head.kept")
    fits.PrimaryHDU().writeto(tmp_path / "empty.fits")
    program = fake(tmp_path, does.replace("good.head", "good.head.kept"))
    with pytest.raises(NoSolution, match=said):
        run_scamp(tmp_path, ["a.fits"], [1], CONFIGURATION, seconds=20.0, program=program)


def test_an_old_answer_is_no_answer(tmp_path: Path) -> None:
    (tmp_path / "a.head").write_text(LINEAR)
    full_catalog(tmp_path, [(1, 0, 1), (1, 1, 1)], FULL.replace(".", "_1."))
    with pytest.raises(NoSolution, match=r"wrote no a\.head"):
        run_scamp(tmp_path, ["a.fits"], [1], CONFIGURATION, seconds=20.0, program=fake(tmp_path, "true"))


def test_absent_scamp_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoSolution, match="scamp-that-is-not-there"):
        run_scamp(tmp_path, ["a.fits"], [1], CONFIGURATION, seconds=5.0, program="scamp-that-is-not-there")


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="absent"):
        run_scamp(tmp_path / "absent", ["a.fits"], [1], CONFIGURATION, seconds=5.0, program=os.devnull)
