"""Real programs that hang, crash, chatter and leave children behind."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from pathlib import Path

import pytest

from nightflow.external import ProgramError, not_installed, run_bounded, scratch_folder
from tests.unit.astrometry.processes import all_gone, is_reaped, program, with_stubborn_child


def test_all_that_a_program_says_comes_back(tmp_path):
    text = (
        "import os, sys, tempfile;"
        "print(sys.stdin.read().upper(), os.getcwd(), tempfile.gettempdir(), os.environ['EXTRA']);"
        "print('ouch', file=sys.stderr); sys.exit(3)"
    )
    done = run_bounded(
        program(text), seconds=30.0, folder=tmp_path, stdin="hello", environment={"EXTRA": "more"}
    )
    assert done.status == 3
    assert done.stdout.split() == ["HELLO", str(tmp_path), str(tmp_path), "more"]
    assert done.last_words == "ouch"


def test_hung_program_is_ended_with_a_child_that_ignores_sigterm(tmp_path):
    note = tmp_path / "pids"
    started = time.monotonic()
    with pytest.raises(ProgramError, match=r"did not end in 1\.5 s and was ended: deaf"):
        run_bounded(program(with_stubborn_child(note, "time.sleep(60)")), seconds=1.5)
    assert time.monotonic() - started < 10.0
    assert is_reaped(int(note.read_text().split()[0]))
    assert all_gone(note)


@pytest.mark.parametrize(("then", "status"), [("sys.exit(0)", 0), ("sys.exit(2)", 2)])
def test_child_of_a_head_that_is_dead_already_is_ended(tmp_path, then, status):
    """It holds the pipes open: waiting for their end would be waiting for the child."""
    note = tmp_path / "pids"
    started = time.monotonic()
    done = run_bounded(program(with_stubborn_child(note, then)), seconds=30.0)
    assert done.status == status
    assert time.monotonic() - started < 15.0
    assert all_gone(note)


def test_a_child_with_a_session_of_its_own_is_not_waited_for(tmp_path):
    note = tmp_path / "pid"
    text = (
        "import subprocess, sys;"
        "child = subprocess.Popen("
        "    [sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True);"
        f"open({str(note)!r}, 'w').write(str(child.pid)); print('left')"
    )
    started = time.monotonic()
    try:
        assert run_bounded(program(text), seconds=30.0).stdout == "left\n"
        assert time.monotonic() - started < 15.0
    finally:
        os.kill(int(note.read_text()), signal.SIGKILL)


def test_signal_is_named():
    with pytest.raises(ProgramError, match="was ended by SIGSEGV: going"):
        run_bounded(
            program("import os, signal; print('going', flush=True); os.kill(os.getpid(), signal.SIGSEGV)"),
            seconds=30.0,
        )


def test_killed_from_outside_with_its_child(tmp_path):
    note = tmp_path / "pids"

    def kill() -> None:
        while not note.exists() or len(note.read_text().split()) < 2:
            time.sleep(0.01)
        os.kill(int(note.read_text().split()[0]), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(ProgramError, match="was ended by SIGKILL"):
        run_bounded(program(with_stubborn_child(note, "time.sleep(60)")), seconds=30.0)
    killer.join()
    assert all_gone(note)


def test_missing_program_and_one_that_cannot_be_started(tmp_path):
    with pytest.raises(ProgramError, match="no-such-solver is not installed"):
        run_bounded(["no-such-solver"], seconds=1.0)
    assert not_installed("scamp").endswith("(Debian and Ubuntu: apt install scamp)")
    text = tmp_path / "text"
    text.write_text("no program")
    text.chmod(0o755)
    with pytest.raises(ProgramError, match=r"cannot be started: .*Exec format error"):
        run_bounded([str(text)], seconds=1.0)
    with pytest.raises(ProgramError, match=r"cannot be started: .*absent"):
        run_bounded(program(""), seconds=1.0, folder=tmp_path / "absent")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_endless_output_neither_blocks_nor_fills_memory(stream):
    flood = f"import sys\nwhile True: sys.{stream}.write('x' * 65536)"
    with pytest.raises(ProgramError, match=r"did not end in 1\.0 s"):
        run_bounded(program(flood), seconds=1.0)


def test_the_end_of_long_output_is_kept():
    done = run_bounded(program("print('a' * 5_000_000 + 'end')"), seconds=30.0, kept=1000)
    assert done.stdout == "a" * 996 + "end\n"


def test_input_that_is_not_read_and_input_beyond_a_pipe():
    assert run_bounded(program(""), seconds=30.0, stdin="x" * 1_000_000).status == 0
    echo = "import sys; sys.stdout.write(sys.stdin.read())"
    assert len(run_bounded(program(echo), seconds=30.0, stdin="x" * 1_000_000).stdout) == 1_000_000


def test_closed_pipes_are_no_end():
    text = "import os, time; os.close(0); os.close(1); os.close(2); time.sleep(0.5); os._exit(7)"
    assert run_bounded(program(text), seconds=30.0).status == 7
    with pytest.raises(ProgramError, match="did not end"):
        run_bounded(program(text.replace("0.5", "60")), seconds=0.8)


def test_interrupt_ends_the_group(tmp_path):
    """In the main thread, as by Ctrl-C."""
    note = tmp_path / "pids"

    def interrupt() -> None:
        while not note.exists() or len(note.read_text().split()) < 2:
            time.sleep(0.01)
        signal.raise_signal(signal.SIGINT)

    poker = threading.Thread(target=interrupt)
    poker.start()
    with pytest.raises(KeyboardInterrupt):
        run_bounded(program(with_stubborn_child(note, "time.sleep(60)")), seconds=30.0)
    poker.join()
    assert is_reaped(int(note.read_text().split()[0]))
    assert all_gone(note)


def test_no_descriptor_is_left_open():
    run_bounded(program(""), seconds=30.0)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        run_bounded(program("print(1)"), seconds=30.0)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_scratch_folder_is_removed_whatever_happens():
    with scratch_folder("nightflow-test-") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text("x")
    assert not folder.exists()
    with pytest.raises(ZeroDivisionError), scratch_folder("nightflow-test-") as folder:
        raise ZeroDivisionError
    assert not folder.exists()


def test_scratch_folder_that_cannot_be_made(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/proc/self")
    with (
        pytest.raises(ProgramError, match=r"no temporary folder: .*TMPDIR"),
        scratch_folder("nightflow-test-"),
    ):
        pytest.fail("there is no folder")


def test_disk_error_in_the_scratch_folder():
    with pytest.raises(ProgramError, match="No space left"), scratch_folder("nightflow-test-") as folder:
        Path("/dev/full").write_text("x" * 100_000)
    assert not folder.exists()


def test_an_error_of_another_folder_is_not_said_to_be_of_the_scratch_folder(tmp_path):
    with pytest.raises(ProgramError) as told, scratch_folder("nightflow-test-"):
        (tmp_path / "none" / "file").write_text("x")
    assert "temporary folder" not in str(told.value)
    assert str(tmp_path / "none" / "file") in str(told.value)
    with pytest.raises(ProgramError, match="temporary folder"), scratch_folder("nightflow-test-") as folder:
        (folder / "none" / "file").write_text("x")
