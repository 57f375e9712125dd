"""The name in which a run leases tells its process from all others, and people read it."""

from __future__ import annotations

import os
import socket

import pytest

from nightflow.pipeline import run_name
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


@pytest.mark.parametrize("started_anew", ["another boot id", None])
def test_of_another_boot_or_container_nobody_can_tell(
    monkeypatch: pytest.MonkeyPatch, tmp_path, started_anew: str | None
) -> None:
    """Two containers of one host name on one Postgres: the number of one is not that of the other."""
    elsewhere = dead_run()
    boot = tmp_path / "boot_id"
    if started_anew:
        boot.write_text(started_anew)
    monkeypatch.setattr(run_name, "_BOOT", boot)
    run_name._place.cache_clear()
    try:
        assert run_worker(1) != elsewhere
        assert lives_here(elsewhere) is None
    finally:
        run_name._place.cache_clear()


@pytest.mark.parametrize(
    "worker", ["watch:dome:7", "run:elsewhere:1:0123abcd-7", f"run:{socket.gethostname()}:999999999", "", "x"]
)
def test_of_other_names_nobody_can_tell(worker: str) -> None:
    assert lives_here(worker) is None


def test_people_read_the_machine_and_the_number() -> None:
    assert shown_worker(run_worker()) == f"run:{socket.gethostname()}:{os.getpid()}"
    assert shown_worker("watch:dome:7") == "watch:dome:7"
    assert shown_worker("another process") == "another process"
