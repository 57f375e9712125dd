"""Where kernels are kept: anew where what is compiled into them has changed."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import nightflow
from nightflow import kernel_cache
from nightflow.folders import nearest_existing
from nightflow.kernel_cache import FROZEN, are_ready, kernel_folder, note_ready, use_kernel_folder

PACKAGE = Path(nightflow.__file__).parent


def chosen(source: Path, **environment: str) -> Path:
    """Return the folder of a new process with that source."""
    code = "import nightflow, os; print(os.environ['NUMBA_CACHE_DIR'])"
    kept = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    environment = kept | {"PYTHONPATH": str(source), **environment}
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return Path(ended.stdout.strip())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of as much of the package as chooses the folder."""
    package = tmp_path / "src" / "nightflow"
    package.mkdir(parents=True)
    for name in ("__init__.py", "kernel_cache.py", "folders.py", *FROZEN):
        shutil.copy(PACKAGE / name, package / name)
    return package.parent


def test_another_constant_is_another_folder_below_the_one_that_is_named(source: Path, tmp_path: Path) -> None:
    first = chosen(source, NUMBA_CACHE_DIR=str(tmp_path / "kept"))
    assert first.parent == tmp_path / "kept"
    assert chosen(source, NUMBA_CACHE_DIR=str(tmp_path / "kept")) == first
    with (source / "nightflow" / "flags.py").open("a") as file:
        file.write("# another bit\n")
    other = chosen(source, NUMBA_CACHE_DIR=str(tmp_path / "kept"))
    assert other != first
    assert other.parent == first.parent


def test_a_process_started_by_ours_has_the_same_folder(source: Path) -> None:
    first = chosen(source)
    assert chosen(source, NUMBA_CACHE_DIR=str(first)) == first


def test_it_is_beside_the_code_or_in_the_users_cache(source: Path, tmp_path: Path) -> None:
    first = chosen(source)
    assert first.parent == source / "nightflow" / "__pycache__"
    first.parent.mkdir(exist_ok=True)
    first.write_text("in the way, for root too")
    assert chosen(source, HOME=str(tmp_path)) == tmp_path / ".cache" / "nightflow" / first.name


def test_a_folder_that_cannot_be_written_itself_is_not_taken(source: Path, tmp_path: Path) -> None:
    """Though the one that is named can: otherwise numba would go elsewhere without a word."""
    named = tmp_path / "kept"
    first = chosen(source, NUMBA_CACHE_DIR=str(named))
    assert first.parent == named
    named.mkdir()
    first.write_text("in the way, for root too")
    other = chosen(source, NUMBA_CACHE_DIR=str(named))
    assert other == source / "nightflow" / "__pycache__" / first.name
    assert chosen(source, NUMBA_CACHE_DIR=str(first)) == other, "as a child finds it"


def test_no_user_takes_the_folder_of_another(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What root has compiled the user of the service cannot add to."""
    monkeypatch.delitem(sys.modules, "numba", raising=False)  # it is not told of these folders
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "kernels-now"))
    folders, readiness = set(), []
    for user in (0, 1000):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        use_kernel_folder()
        folders.add(kernel_folder())
        readiness.append(are_ready())
        note_ready()
    assert len(folders) == 2
    assert readiness == [False, False]


def test_a_home_that_may_not_be_searched_stops_nobody(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither does a disk that fails where kernels might be."""
    home, looked_at = tmp_path / "home", Path.exists
    home.mkdir()

    def refuse(path: Path, **options: bool) -> bool:
        if home in path.parents:
            raise PermissionError(13, "Permission denied")
        if path.is_relative_to(PACKAGE):
            raise OSError(5, "Input/output error")
        return looked_at(path, **options)

    monkeypatch.setattr(Path, "exists", refuse)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.delitem(sys.modules, "numba", raising=False)  # it is not told of these folders
    use_kernel_folder()
    assert kernel_folder() is not None
    assert nearest_existing(home / ".cache") == home


def test_whatever_stands_in_a_kernel_is_of_its_own_file_or_counted() -> None:
    """Every constant that a file with kernels imports from the package: a change must reach the kernels."""
    harmless = ("in_bands",)
    for file in PACKAGE.rglob("*.py"):
        tree = ast.parse(file.read_text())
        names = {
            name.id for kernel in kernels_of(tree) for name in ast.walk(kernel) if isinstance(name, ast.Name)
        }
        for imported in (one for one in ast.walk(tree) if isinstance(one, ast.ImportFrom)):
            used = {alias.asname or alias.name for alias in imported.names} & names - set(harmless)
            if used and (imported.module or "").startswith("nightflow."):
                origin = (imported.module or "").removeprefix("nightflow.").replace(".", "/") + ".py"
                assert origin in FROZEN, (file, used)


def kernels_of(tree: ast.Module) -> list[ast.FunctionDef]:
    functions = [one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)]
    return [one for one in functions if any("njit" in ast.unparse(dec) for dec in one.decorator_list)]


def test_kernels_are_ready_for_one_program_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "kernels-now"))
    assert not are_ready()
    note_ready()
    assert are_ready()
    monkeypatch.setattr(kernel_cache, "_program", lambda: b"the next version")
    assert not are_ready()


def test_a_damaged_note_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "kernels-now"))
    note_ready()
    (tmp_path / "kernels-now" / "ready").write_bytes(b"\xff\x00\xfe")
    assert not are_ready()


def test_folders_that_nobody_uses_any_more_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("kernels-old", "kernels-new", "other"):
        (tmp_path / name).mkdir()
    for name in ("kernels-old", "other"):
        os.utime(tmp_path / name, (0, 0))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "kernels-now"))
    note_ready()
    assert {one.name for one in tmp_path.iterdir()} == {"kernels-now", "kernels-new", "other"}
    assert kernel_folder() == tmp_path / "kernels-now"


def test_a_folder_that_is_used_stays(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though nothing was compiled into it for long."""
    used = chosen(source, NUMBA_CACHE_DIR=str(tmp_path))
    used.mkdir()
    os.utime(used, (0, 0))
    assert chosen(source, NUMBA_CACHE_DIR=str(tmp_path)) == used
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "kernels-now"))
    note_ready()
    assert used.is_dir()
