"""Whether a process that left its mark still is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nightflow import process_identity
from nightflow.process_identity import ProcessIdentity, identity_of
from nightflow.service.process_mark import is_gone, is_mark, is_there, own_mark

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked at in /proc")


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The number of this machine: containers have none."""
    file = tmp_path / "machine-id"
    file.write_text("0123456789abcdef0123456789abcdef\n")
    monkeypatch.setattr(process_identity, "_MACHINE_ID", file)
    process_identity._here.cache_clear()
    yield file
    process_identity._here.cache_clear()


@pytest.fixture
def other() -> Iterator[subprocess.Popen[str]]:
    """A process that waits to be told to end."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def changed(mark: str, **parts: str) -> str:
    fields = ProcessIdentity(*mark.split(":")[1:])._replace(**parts)
    return ":".join(("process", *fields))


def mark_of(process: subprocess.Popen[str]) -> str:
    return changed(own_mark(), pid=str(process.pid), started=identity_of(process.pid).started)


def test_a_process_is_there_until_it_has_ended(other: subprocess.Popen[str]) -> None:
    assert is_mark(own_mark())
    mark = mark_of(other)
    assert not is_gone(own_mark())
    assert not is_gone(mark)
    assert is_there(mark)
    other.communicate("\n")
    assert is_gone(mark)
    assert not is_there(mark)


def test_a_process_that_was_killed_is_gone_though_its_parent_did_not_take_note(
    other: subprocess.Popen[str],
) -> None:
    mark = mark_of(other)
    other.kill()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and keeps its number
    assert is_gone(mark)
    assert not is_there(mark)


def test_another_process_of_the_same_number_is_not_taken_for_it() -> None:
    assert is_gone(changed(own_mark(), started="1"))


def test_what_ran_before_the_machine_was_started_anew_is_gone() -> None:
    assert is_gone(changed(own_mark(), boot="00000000"))


@pytest.mark.parametrize("part", ["host", "machine", "room"])
def test_nobody_can_tell_of_another_machine_or_container(part: str) -> None:
    mark = changed(own_mark(), **{part: "other", "pid": "4194303", "started": "1"})
    assert not is_gone(mark)
    assert not is_there(mark)


@pytest.mark.parametrize("number", ["", "uninitialized\n"])
def test_a_machine_without_a_number_knows_nothing_of_another_boot(machine: Path, number: str) -> None:
    machine.write_text(number)
    process_identity._here.cache_clear()
    assert not is_gone(changed(own_mark(), boot="00000000"))
    assert is_gone(changed(own_mark(), started="1"))


@pytest.mark.parametrize("text", ["", "process:", "process:a:b", "nightflow", "process:a:b:c:d:e:f:g"])
def test_what_is_no_mark_tells_nothing(text: str) -> None:
    assert not is_gone(text)
    assert not is_there(text)
