import os
import sys
import time
from pathlib import Path

import pytest

from benchmarks import peers
from benchmarks.harness import Skipped
from nightflow.external import ProgramError


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_program_gives_what_it_prints(tmp_path: Path) -> None:
    assert peers.run(python("import os; print(os.getcwd())"), tmp_path).strip() == str(tmp_path)


def test_a_program_that_fails_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="ended with status 3: too bad"):
        peers.run(python("import sys; print('too bad', file=sys.stderr); sys.exit(3)"), tmp_path)


def test_a_program_that_ends_its_group_does_not_end_us(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match="ended by SIGTERM"):
        peers.run(python("import os, signal; os.killpg(0, signal.SIGTERM)"), tmp_path)


def test_a_program_that_hangs_is_ended_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "_LONGEST", 1.0)
    child = (
        f"import subprocess, sys; print(subprocess.Popen({python('import time; time.sleep(60)')!r}).wait())"
    )
    started = time.monotonic()
    with pytest.raises(ProgramError, match=r"did not end in 1\.0 s"):
        peers.run(python(child), tmp_path)
    # The pipe is held by the child too: that it was closed shows that the child is gone.
    assert time.monotonic() - started < 30


def test_an_absent_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "PATH", "")
    with pytest.raises(Skipped, match="solve-field is not installed"):
        peers.program("solve-field")


def test_the_matched_filter_is_as_wide_as_ours(tmp_path: Path) -> None:
    columns, kernel = peers.source_extractor_files(tmp_path, fwhm=3.0)
    assert "XWIN_IMAGE" in columns.read_text()
    head, *rows = kernel.read_text().splitlines()
    values = [[float(value) for value in row.split()] for row in rows]
    assert head == "CONV NORM"
    assert len(values) == len(values[0]) == 7
    assert values[3][3] == 1.0
    # Half of the height stands at half of the width, 1.5 pixels from the middle: between these two.
    assert values[3][4] > 0.5 > values[3][5]
