"""The name in which a run leases tells its process from all others, and people read it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from nightflow import process_identity
from nightflow.pipeline.run_name import lives_here, run_worker, shown_worker
from tests.unit.pipeline.processes import dead_run


def test_a_process_that_lives_is_known_to() -> None:
    assert lives_here(run_worker()) is True
    assert lives_here(run_worker(os.getppid())) is True


def test_a_process_that_was_killed_is_gone() -> None:
    assert lives_here(dead_run()) is False


def test_another_process_that_has_the_number_now_is_not_taken_for_it() -> None:
    place, _, began = run_worker().rpartition("-")
    assert lives_here(f"{place}-{int(began) + 1}") is False


@pytest.fixture
def machine_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Of this machine; without it, a container may be on any."""
    file = tmp_path / "machine-id"
    monkeypatch.setattr(process_identity, "_MACHINE_ID", file)
    process_identity._here.cache_clear()
    yield file
    process_identity._here.cache_clear()


def of_another(part: int) -> str:
    """Return the name of a process that lives, but in another boot (1) or container (2)."""
    place, _, began = run_worker(os.getppid()).rpartition("-")
    head, _, last = place.rpartition(":")
    parts = last.split(".")
    parts[part] = "01234567"
    return f"{head}:{'.'.join(parts)}-{began}"


def test_of_another_container_nobody_can_tell(machine_id: Path) -> None:
    """Two containers of one host name on one Postgres: the number of one is not that of the other."""
    assert lives_here(of_another(2)) is None
    assert lives_here(of_another(1)) is None, "it may be on another machine"


def test_what_ran_before_the_machine_was_started_anew_is_gone(machine_id: Path) -> None:
    """Else the night waits, after each power cut, until the leases end."""
    machine_id.write_text("0123456789abcdef0123456789abcdef\n")
    assert lives_here(of_another(1)) is False
    assert lives_here(of_another(2)) is None


@pytest.mark.parametrize(
    "worker", ["watch:dome:7", "run:elsewhere:1:0123abcd-7", f"run:{socket.gethostname()}:999999999", "", "x"]
)
def test_of_other_names_nobody_can_tell(worker: str) -> None:
    assert lives_here(worker) is None


def test_people_read_the_machine_and_the_number() -> None:
    assert shown_worker(run_worker()) == f"run:{socket.gethostname()}:{os.getpid()}"
    assert shown_worker("watch:dome:7") == "watch:dome:7"
    assert shown_worker("another process") == "another process"
