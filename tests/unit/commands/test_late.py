"""Help costs no import of what it does not need, and says what the commands say of themselves."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from nightflow.cli import COMMANDS, app
from nightflow.commands.late import LateCommand

HEAVY = ("alembic", "astropy", "matplotlib", "numba", "numpy", "prefect", "pydantic", "scipy", "sqlalchemy")


def loaded(code: str) -> set[str]:
    """Return the packages that a new process has imported after some code."""
    said = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(); print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    )
    return {name.partition(".")[0] for name in said.stdout.splitlines()[-1].split()}


def test_help_of_the_program_imports_nothing_heavy() -> None:
    code = "from nightflow.cli import app; app(['--help'], standalone_mode=False)"
    assert loaded(code).isdisjoint(HEAVY)


def test_what_only_looks_into_the_store_brings_no_compiler_and_no_drawing() -> None:
    code = "from nightflow.cli import app; app(['frames', '--help'], standalone_mode=False)"
    assert loaded(code).isdisjoint({"alembic", "matplotlib", "numba", "prefect", "scipy"})


@pytest.mark.parametrize("late", COMMANDS, ids=lambda late: late.name)
def test_the_list_says_what_the_command_says(late: LateCommand) -> None:
    command = late.load()
    assert command.name == late.name
    assert command.help.partition("\n")[0] == late.help


def test_every_command_is_listed_once_with_its_help() -> None:
    listed = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"})
    assert listed.exit_code == 0
    for late in COMMANDS:
        assert listed.output.count(f" {late.name}  ") == 1, late.name
    assert "([notify] command and webhook)" in listed.output


def test_a_misspelt_command_is_named_with_its_neighbour() -> None:
    result = CliRunner().invoke(app, ["finsh"])
    assert result.exit_code == 2
    assert "Did you mean 'finish'?" in result.output


@pytest.mark.parametrize(
    "words", [["movers", "--help"], ["masters", "--help"], ["masters", "approve", "--help"]]
)
def test_help_of_a_command_is_its_own(words: list[str]) -> None:
    result = CliRunner().invoke(app, words, env={"COLUMNS": "120"})
    assert result.exit_code == 0
    assert f"Usage: nightflow {' '.join(words[:-1])} [OPTIONS]" in result.output


def test_epilogs_stand_below_the_help() -> None:
    assert {late.name for late in COMMANDS if late.load().epilog} == {"sources", "variables", "movers"}
