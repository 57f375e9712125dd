"""After the rehearsal no frame waits for a kernel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

NIGHT = """
import sys
from pathlib import Path
from typer.testing import CliRunner
from nightflow.cli import app
from nightflow.rehearsal import kernels, rehearse
from nightflow.simulate import NightPlan, write_night

folder = Path(sys.argv[1])
write_night(NightPlan.small(n_lights=2), folder)

def known():
    return {
        (kernel.py_func.__module__, kernel.py_func.__name__, str(signature))
        for kernel in kernels() for signature in kernel.signatures
        if not kernel.py_func.__module__.startswith("nightflow.simulate")
    }

def command(*words):
    done = CliRunner().invoke(app, [*words], catch_exceptions=False)
    assert done.exit_code == 0, done.output

rehearse()
before = known()
command("init", str(folder / "dome"))
config = ["--config", str(folder / "dome" / "nightflow.toml")]
command("catalog", "import", str(folder / "catalog.csv"), "--name", "field", *config)
command("run", str(folder / "raw"), *config)
command("run", "--force", str(folder / "raw"), *config)
assert len(before) > 30
for one in sorted(known() - before):
    print(*one)
"""

COUNTED = "from nightflow.rehearsal import rehearse; print(rehearse().compiled)"


def said(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_night_needs_no_kernel_that_was_not_rehearsed(tmp_path: Path) -> None:
    """In a process of its own, and with masters that are built as well as read."""
    assert said(NIGHT, str(tmp_path)) == ""


def test_another_process_finds_what_the_rehearsal_has_left() -> None:
    assert [said(COUNTED), said(COUNTED)][1] == "0\n"
