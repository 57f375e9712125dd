"""The rung `solve_field`, with programs that do what they should not, and with the real one."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import nightflow.simulate
from nightflow.astrometry import solve_field
from nightflow.astrometry.astrometry_net import PACKAGED_INDEX_FOLDER, solve_astrometry_net
from nightflow.astrometry.ladder import solve
from nightflow.astrometry.outside import attempts
from nightflow.astrometry.solution import Quality, SolveRequest
from nightflow.astrometry.solve_field import solve_field_command, solve_with_solve_field
from nightflow.catalogs.importer import import_catalog
from nightflow.catalogs.local import LocalCatalogs
from nightflow.errors import NoSolution
from nightflow.instruments.profile import AstrometrySettings
from tests.unit.astrometry.processes import all_gone, with_stubborn_child
from tests.unit.astrometry.synthetic import make_request, make_wcs, worst_error

RA, DEC = 31.05, 46.70
SHAPE = (900, 1024)
SCALE = 3.0
SETTINGS = AstrometrySettings(scale=SCALE)
TRUE = make_wcs(RA, DEC, scale=SCALE, rotation=25.0, shape=SHAPE)
FALSE = make_wcs(RA + 0.1, DEC, scale=SCALE, rotation=205.0, shape=SHAPE)


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory: pytest.TempPathFactory) -> LocalCatalogs:
    folder = tmp_path_factory.mktemp("catalogs")
    import_catalog(Path(nightflow.simulate.__file__).parent / "data" / "tycho2_hatp32.csv", "tycho2", folder)
    return LocalCatalogs(folder)


def frame(catalogs: LocalCatalogs, parity: int = 1, **known) -> SolveRequest:
    stars = catalogs.cone("tycho2", RA, DEC, 1.0)
    stars = replace(stars, mags={"G": stars.brightness()})
    wcs = make_wcs(RA, DEC, scale=SCALE, rotation=25.0, parity=parity, shape=SHAPE)
    return make_request(wcs, stars, shape=SHAPE, epoch=stars.epoch, scale=SCALE, **known)


@pytest.fixture
def request_(catalogs: LocalCatalogs) -> SolveRequest:
    """A frame without a pointing: one attempt, of half a second."""
    return replace(frame(catalogs), ra=None, dec=None, time_limit=2.0)


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go; nothing may be left there."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def install(tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch):
    """Put a Python program in the place of solve-field."""

    def put(text: str) -> None:
        program = tmp_path / "solve-field"
        program.write_text(f"#!{sys.executable}\n{text}\n")
        program.chmod(0o755)
        monkeypatch.setattr(solve_field, "PROGRAM", str(program))
        monkeypatch.setattr(solve_field, "_OVERHEAD", 0.5)

    return put


def claiming(wcs_file: Path) -> str:
    return f"import shutil; shutil.copy({str(wcs_file)!r}, 'claim.wcs')"


def saved(wcs, file: Path) -> Path:
    wcs.to_fits(relax=True)[0].writeto(file)
    return file


def test_a_true_claim_is_verified(request_, catalogs, install, scratch, tmp_path):
    install(claiming(saved(TRUE, tmp_path / "true.fits")))
    solution = solve_with_solve_field(replace(request_, time_limit=40.0), catalogs, SETTINGS, [])
    assert (solution.backend, solution.quality) == ("solve_field", Quality.VERIFIED)
    assert worst_error(solution.wcs, TRUE, SHAPE) < 1.0
    assert list(scratch.iterdir()) == []


def test_a_false_claim_is_not_believed(request_, catalogs, install, scratch, tmp_path):
    install(claiming(saved(FALSE, tmp_path / "false.fits")))
    with pytest.raises(NoSolution, match=r"blind: .*(candidate refused|stars matched)"):
        solve_with_solve_field(replace(request_, time_limit=40.0), catalogs, SETTINGS, [])
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cannot be read"),
        (b"\0" * 5760, "cannot be read"),
        (b"SIMPLE  =                    T".ljust(2880), "cannot be read|none of the sky"),
        (b"not FITS at all", "cannot be read"),
    ],
)
def test_nonsense_instead_of_a_wcs(request_, catalogs, install, scratch, tmp_path, content, words):
    nonsense = tmp_path / "nonsense"
    nonsense.write_bytes(content)
    install(claiming(nonsense))
    with pytest.raises(NoSolution, match=words):
        solve_with_solve_field(replace(request_, time_limit=40.0), catalogs, SETTINGS, [])
    assert list(scratch.iterdir()) == []


@pytest.mark.fault("solver hung")
def test_hung_program_leaves_neither_child_nor_file_and_the_next_rung_is_tried(
    catalogs, install, scratch, tmp_path
):
    note = tmp_path / "pids"
    install(with_stubborn_child(note, "open('half.tmp', 'w').write('x'); time.sleep(60)"))
    pointed = frame(catalogs, time_limit=2.0)
    started = time.monotonic()
    solution = solve(pointed, catalogs, SETTINGS, order=["solve_field", "hint"])
    assert time.monotonic() - started < 30.0
    assert solution.backend == "hint"
    assert "with hints: solve-field did not end in" in solution.warnings[0]
    assert "blind: solve-field did not end in" in solution.warnings[0]
    assert [report.rung for report in solution.rungs] == ["solve_field"]
    assert solution.rungs[0].seconds > 2.0
    assert all_gone(note)
    assert list(scratch.iterdir()) == []


def test_killed_program(request_, catalogs, install, scratch, tmp_path):
    note = tmp_path / "pids"
    install(with_stubborn_child(note, "import signal; os.kill(os.getpid(), signal.SIGKILL)"))
    with pytest.raises(NoSolution, match="solve-field was ended by SIGKILL"):
        solve_with_solve_field(replace(request_, time_limit=40.0), catalogs, SETTINGS, [])
    assert all_gone(note)
    assert list(scratch.iterdir()) == []


def test_a_program_that_floods_its_output(request_, catalogs, install, scratch):
    install("import sys\nwhile True: sys.stdout.write('x' * 65536)")
    with pytest.raises(NoSolution, match="did not end"):
        solve_with_solve_field(request_, catalogs, SETTINGS, [])
    assert list(scratch.iterdir()) == []


def test_failure_quotes_the_last_words(request_, catalogs, install):
    install("import sys; sys.exit('out of memory')")
    with pytest.raises(NoSolution, match="failed with status 1: out of memory"):
        solve_with_solve_field(replace(request_, time_limit=40.0), catalogs, SETTINGS, [])


def test_missing_program(request_, catalogs):
    with pytest.raises(NoSolution, match="no-such-solve-field is not installed"):
        solve_with_solve_field(request_, catalogs, SETTINGS, [])


def test_unwritable_temporary_folder(request_, catalogs, install, monkeypatch):
    install("pass")
    monkeypatch.setattr(tempfile, "tempdir", "/proc/self")
    with pytest.raises(NoSolution, match=r"blind: no temporary folder: .*TMPDIR"):
        solve_with_solve_field(request_, catalogs, SETTINGS, [])


def test_full_temporary_folder(request_, catalogs, install, scratch, monkeypatch):
    install("pass")

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("astropy.table.Table.write", full)
    with pytest.raises(NoSolution, match="No space left on device"):
        solve_with_solve_field(request_, catalogs, SETTINGS, [])
    assert list(scratch.iterdir()) == []


def words_of(command: list[str]) -> dict[str, str]:
    """Return each option with the word after it."""
    return {word: after for word, after in pairwise(command) if word.startswith("--")}


def test_the_command_holds_the_hints(catalogs):
    request = frame(catalogs, parity=-1, hint_error=0.5, scale_tolerance=0.1, time_limit=30.0)
    request = replace(request, parity=-1, ra=-10.0)
    hinted, blind = (words_of(solve_field_command(request, attempt)) for attempt in attempts(request))
    assert float(hinted["--ra"]) == pytest.approx(350.0)
    assert float(hinted["--dec"]) == pytest.approx(DEC)
    # the hint's error and the way from the middle of the frame to a corner
    assert float(hinted["--radius"]) == pytest.approx(0.5 + 0.568, abs=0.01)
    assert (float(hinted["--scale-low"]), float(hinted["--scale-high"])) == pytest.approx((2.7, 3.3))
    assert hinted["--parity"] == "neg"
    assert int(hinted["--cpulimit"]) == 6
    assert (hinted["--width"], hinted["--height"]) == ("1024", "900")
    assert not {"--ra", "--dec", "--radius"} & set(blind)
    assert blind["--scale-low"] == hinted["--scale-low"]


def test_a_scale_that_is_not_known_is_not_told(catalogs):
    request = replace(frame(catalogs), scale=None, parity=0)
    words = words_of(solve_field_command(request, attempts(request)[-1]))
    assert not {"--scale-low", "--scale-high", "--scale-units", "--parity"} & set(words)


needs_program = pytest.mark.skipif(shutil.which("solve-field") is None, reason="solve-field is not installed")


@pytest.mark.system
@needs_program
@pytest.mark.parametrize("pointing", ["hint", "none"])
@pytest.mark.parametrize("parity", [1, -1])
def test_the_real_program_solves(catalogs, scratch, parity, pointing):
    request = replace(frame(catalogs, parity=parity), parity=parity)
    if pointing == "none":
        request = replace(request, ra=None, dec=None)
    solution = solve_with_solve_field(request, catalogs, SETTINGS, [])
    assert (solution.backend, solution.parity) == ("solve_field", parity)
    truth = make_wcs(RA, DEC, scale=SCALE, rotation=25.0, parity=parity, shape=SHAPE)
    assert worst_error(solution.wcs, truth, SHAPE) < 1.0
    assert list(scratch.iterdir()) == []


@pytest.mark.system
@needs_program
@pytest.mark.parametrize("parity", [1, -1])
def test_the_wrong_parity_is_not_solved(catalogs, parity):
    """Else the test above would say nothing of the option."""
    request = replace(frame(catalogs, parity=parity), parity=-parity, ra=None, dec=None)
    with pytest.raises(NoSolution, match="match nothing"):
        solve_with_solve_field(request, catalogs, SETTINGS, [])


def damaged_indexes(folder: Path) -> Path:
    """Fill a folder, whose name has a space, with indexes that are none any more."""
    folder.mkdir()
    index = next(PACKAGED_INDEX_FOLDER.glob("index-*.fits"))
    whole = index.read_bytes()
    (folder / "index-0-cut.fits").write_bytes(whole[: len(whole) // 2])
    (folder / "index-1-noise.fits").write_bytes(np.random.default_rng(1).bytes(len(whole)))
    (folder / "index-2-empty.fits").write_bytes(b"")
    (folder / "index-3-gone.fits").symlink_to(folder / "nowhere")
    wrong = bytearray(whole)
    with fits.open(index) as hdus:
        for place in (hdu.fileinfo() for hdu in hdus[1:]):
            data = slice(place["datLoc"], place["datLoc"] + place["datSpan"])
            wrong[data] = np.random.default_rng(2).bytes(place["datSpan"])
    (folder / "index-4-wrong.fits").write_bytes(wrong)
    return folder


RUNGS = [
    pytest.param(solve_astrometry_net, id="astrometry_net"),
    pytest.param(solve_with_solve_field, id="solve_field", marks=[pytest.mark.system, needs_program]),
]


@pytest.mark.parametrize("rung", RUNGS)
def test_damaged_index_files_are_named_and_the_others_used(catalogs, scratch, tmp_path, rung):
    folder = damaged_indexes(tmp_path / "in dexes")
    (folder / "index-4-wrong.fits").unlink()
    solution = rung(frame(catalogs), catalogs, SETTINGS, [folder])
    assert worst_error(solution.wcs, TRUE, SHAPE) < 1.0
    for name in ("0-cut", "1-noise", "2-empty", "3-gone"):
        assert sum(f"index-{name}.fits" in warning for warning in solution.warnings) == 1
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("rung", RUNGS)
def test_only_damaged_index_files(catalogs, scratch, tmp_path, monkeypatch, rung):
    """The one whose headers are whole goes to the solver, which may find nothing or crash, but not lie."""
    folder = damaged_indexes(tmp_path / "in dexes")
    monkeypatch.setattr("nightflow.astrometry.astrometry_net.PACKAGED_INDEX_FOLDER", tmp_path)
    with pytest.raises(NoSolution) as caught:
        rung(replace(frame(catalogs), time_limit=5.0), catalogs, SETTINGS, [folder])
    assert "index-0-cut.fits" in str(caught.value)
    assert "blind: " in str(caught.value)
    assert list(scratch.iterdir()) == []
