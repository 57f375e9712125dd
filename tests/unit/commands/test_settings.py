"""What every command does without settings, with wrong ones, and with a broken store."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nightflow.cli import COMMANDS as THERE_ARE
from nightflow.cli import app
from nightflow.config import load_settings

COMMANDS = {
    "run": ["run", "."],
    "watch": ["watch"],
    "backfill": ["backfill"],
    "finish": ["finish", "2025-10-24"],
    "status": ["status"],
    "frames": ["frames"],
    "explain": ["explain", "a.fits"],
    "retry": ["retry", "a.fits"],
    "lightcurve": ["lightcurve", "M 31"],
    "export": ["export", "out"],
    "serve": ["serve"],
    "notify": ["notify"],
    "deploy": ["deploy"],
    "doctor": ["doctor"],
    "completeness": ["completeness", "a.fits"],
    "masters list": ["masters", "list"],
    "masters build": ["masters", "build"],
    "masters approve": ["masters", "approve", "1"],
    "masters retry": ["masters", "retry", "1"],
    "masters reject": ["masters", "reject", "1", "--reason", "bad"],
    "sources": ["sources", "--ra", "1", "--dec", "1"],
    "variables": ["variables"],
    "movers": ["movers"],
    "store check": ["store", "check"],
    "store prune": ["store", "prune"],
    "store vacuum": ["store", "vacuum"],
    "store backup": ["store", "backup", "b.sqlite"],
    "store restore": ["store", "restore", "b.sqlite"],
    "catalog import": ["catalog", "import", "a.csv", "--name", "a"],
    "catalog list": ["catalog", "list"],
    "catalog fetch": ["catalog", "fetch", "--ra", "1", "--dec", "1", "--radius", "1"],
    "index fetch": ["index", "fetch", "--scale", "7"],
    "index build": ["index", "build", "a", "--ra", "1", "--dec", "1", "--radius", "1", "--field", "30"],
    "targets add": ["targets", "add", "M 31", "--ra", "10", "--dec", "41"],
    "targets list": ["targets", "list"],
    "targets import": ["targets", "import", "a.csv"],
    "targets remove": ["targets", "remove", "M 31"],
    "scamp": ["scamp", "a.fits"],
    "residuals": ["residuals", "a.fits"],
}
WITHOUT_SETTINGS = {"init", "simulate", "demo"}


def _names() -> set[str]:
    names = set()
    for late in THERE_ARE:
        inner = getattr(late.load(), "commands", None)
        names |= {late.name} if inner is None else {f"{late.name} {name}" for name in inner}
    return names


def test_every_command_is_tried_here() -> None:
    assert _names() == set(COMMANDS) | WITHOUT_SETTINGS


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_without_settings_a_command_says_so_and_exits_with_1(words: list[str]) -> None:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    assert "nightflow.toml: no settings file" in result.output
    assert "nightflow init DIR" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_a_misspelt_key_is_named_with_its_nearest_neighbour(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "nightflow.toml").write_text('[stoer]\nurl = "sqlite:///x.sqlite"\n')
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    assert "did you mean store?" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("name", ["status", "frames", "explain", "masters list", "targets list", "run"])
def test_a_store_that_is_no_database_ends_a_command_with_its_message(name: str, tmp_path: Path) -> None:
    (tmp_path / "nightflow.toml").write_text('[store]\nurl = "sqlite:///store.sqlite"\n')
    (tmp_path / "store.sqlite").write_text(
        "this is no database, and long enough to be told from an empty file"
    )
    result = CliRunner().invoke(app, COMMANDS[name])
    assert result.exit_code == 1
    assert "not an SQLite database" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("words", [*COMMANDS.values(), ["init"], ["simulate"], ["demo"]])
def test_every_command_has_help(words: list[str]) -> None:
    command = words[:2] if f"{words[0]} {words[1] if len(words) > 1 else ''}" in COMMANDS else words[:1]
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_the_version_is_printed() -> None:
    from nightflow import __version__

    assert CliRunner().invoke(app, ["--version"]).stdout == f"nightflow {__version__}\n"


def test_init_writes_settings_and_a_store_and_never_over_others(tmp_path: Path) -> None:
    first = CliRunner().invoke(app, ["init", "dome"])
    assert first.exit_code == 0
    assert (tmp_path / "dome" / "nightflow.sqlite").is_file()
    settings = tmp_path / "dome" / "nightflow.toml"
    settings.write_text(settings.read_text() + "# mine\n")
    again = CliRunner().invoke(app, ["init", "dome"])
    assert again.exit_code == 1
    assert "is there already" in again.output
    assert settings.read_text().endswith("# mine\n")


def test_the_sections_that_init_comments_out_are_true(tmp_path: Path) -> None:
    keys = {"[site]": {"latitude", "longitude", "height"}}
    keys["[notify]"] = {"command", "again_minutes", "no_frame_minutes", "zero_point_fall", "room_gib"}
    assert CliRunner().invoke(app, ["init", "dome"]).exit_code == 0
    file = tmp_path / "dome" / "nightflow.toml"
    file.write_text(re.sub(r"^# (?=\[|\w+ = )", "", file.read_text(), flags=re.MULTILINE))
    read = load_settings(file)
    written = tomllib.loads(file.read_text())
    assert {name: set(written[name.strip("[]")]) for name in keys} == keys
    assert read.site is not None
    assert read.notify.names_somebody
