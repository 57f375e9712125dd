"""A command that is told to end leaves no program and no folder behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nightflow.commands.signals import exit_on_signals
from tests.unit.astrometry.processes import all_gone

WORK = """
import sys
from pathlib import Path
from nightflow.commands.signals import exit_on_signals
from nightflow.external import run_bounded, scratch_folder

@exit_on_signals()
def command():
    with scratch_folder("nightflow-test-") as folder:
        deaf = f"trap '' TERM; echo $$ > {sys.argv[1]}; sleep 60"
        run_bounded(["sh", "-c", deaf], seconds=60.0, folder=folder)

command()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_was_started_is_ended(tmp_path: Path, number: signal.Signals) -> None:
    note, temporary = tmp_path / "pids", tmp_path / "temporary"
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", WORK, str(note)], env={**os.environ, "TMPDIR": str(temporary)}
    )
    try:
        until = time.monotonic() + 30.0
        while not (note.is_file() and note.read_text().strip()) and time.monotonic() < until:
            time.sleep(0.02)
        assert len(list(temporary.iterdir())) == 1
        process.send_signal(number)
        assert process.wait(10.0) == 128 + number
    finally:
        process.kill()
    assert all_gone(note)
    assert list(temporary.iterdir()) == []


def test_what_is_ignored_stays_ignored() -> None:
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with exit_on_signals():
            os.kill(os.getpid(), signal.SIGHUP)
            with pytest.raises(SystemExit, match="143"):
                signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("where", ["reduce:run", "reduce:backfill", "reduce:finish", "scamp:scamp"])
def test_commands_that_start_programs_have_it(where: str) -> None:
    from importlib import import_module

    module, _, name = where.partition(":")
    command = getattr(import_module(f"nightflow.commands.{module}"), name)
    assert command.__wrapped__.__name__ == name
