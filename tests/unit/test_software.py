"""The fingerprint of the code changes with the code, and with nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import nightflow
from nightflow import software
from nightflow.software import SOFTWARE, software_fingerprint


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a part of the package, fingerprinted in place of the real one."""
    root = tmp_path / "nightflow"
    source = Path(nightflow.__file__).parent
    (root / "instruments").mkdir(parents=True)
    for name in ("software.py", "flags.py"):
        shutil.copy(source / name, root / name)
    (root / "instruments" / "nickel.toml").write_text("gain = 1.8\n")
    monkeypatch.setattr(software, "__file__", str(root / "software.py"))
    return root


def fresh() -> str:
    return software_fingerprint.__wrapped__()


def test_it_names_the_release() -> None:
    assert f"nightflow {nightflow.__version__}" == SOFTWARE


def test_it_is_the_same_twice(package: Path) -> None:
    assert fresh() == fresh()
    assert len(fresh()) == 64


@pytest.mark.parametrize("name", ["flags.py", "instruments/nickel.toml"])
def test_a_changed_line_changes_it(package: Path, name: str) -> None:
    before = fresh()
    file = package / name
    file.write_text(file.read_text() + "# mended\n")
    assert fresh() != before


def test_a_moved_or_a_new_file_changes_it(package: Path) -> None:
    prints = [fresh()]
    (package / "flags.py").rename(package / "bits.py")
    prints.append(fresh())
    (package / "new.py").write_text("")
    prints.append(fresh())
    assert len(set(prints)) == 3


def test_what_python_leaves_behind_does_not(package: Path) -> None:
    before = fresh()
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "flags.cpython-311.pyc").write_bytes(b"x")
    (package / "notes.txt").write_text("x")
    for file in package.rglob("*.py"):
        file.touch()
    assert fresh() == before
