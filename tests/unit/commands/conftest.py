"""One small night, simulated and reduced once by the commands themselves."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from nightflow.cli import app
from nightflow.simulate import NightPlan, write_night
from nightflow.store.database import Database

NIGHT = "2025-10-24"
"""The date of the evening in the simulator's plan."""
LIGHTS, CALIBRATIONS = 3, 11
TARGET = (31.0427, 46.6878)


@dataclass(frozen=True)
class Observatory:
    """A folder with settings, and the commands called on it."""

    root: Path
    raw: Path

    def __call__(self, *words: str) -> Result:
        config = ["--config", str(self.root / "nightflow.toml")]
        return CliRunner().invoke(app, [*words, *config], catch_exceptions=False)

    @property
    def database(self) -> Database:
        return Database(f"sqlite:///{self.root / 'nightflow.sqlite'}")

    @property
    def products(self) -> Path:
        return self.root / "products" / NIGHT


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a simulated night: raw/ and catalog.csv."""
    folder = tmp_path_factory.mktemp("simulated")
    write_night(NightPlan.small(n_lights=LIGHTS), folder)
    return folder


@pytest.fixture(scope="session")
def reduced(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Observatory:
    """The night reduced; not to be changed."""
    root = tmp_path_factory.mktemp("reduced") / "dome"
    assert CliRunner().invoke(app, ["init", str(root)]).exit_code == 0
    dome = Observatory(root, simulated / "raw")
    catalog = dome("catalog", "import", str(simulated / "catalog.csv"), "--name", "field")
    assert "468 stars in field" in catalog.stdout
    run = dome("run", str(dome.raw))
    assert run.exit_code == 0, run.output
    assert f"{LIGHTS + CALIBRATIONS} done" in run.stdout
    return dome


@pytest.fixture
def dome(reduced: Observatory, tmp_path: Path) -> Observatory:
    """The same in a copy of one's own."""
    root = tmp_path / "dome"
    shutil.copytree(reduced.root, root)
    return Observatory(root, reduced.raw)


@pytest.fixture
def empty(tmp_path: Path, simulated: Path) -> Observatory:
    """A new folder in which nothing was done yet."""
    root = tmp_path / "empty"
    assert CliRunner().invoke(app, ["init", str(root)]).exit_code == 0
    return Observatory(root, simulated / "raw")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let no settings of whoever runs the tests leak in, nor a Prefect server."""
    for name in ("NIGHTFLOW_CONFIG", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def snapshot() -> Callable[[Observatory], dict[str, list[str]]]:
    """Give a function that returns all rows of all tables."""
    from tests.unit.store.builders import everything

    def rows(dome: Observatory) -> dict[str, list[str]]:
        with dome.database as database:
            return everything(database)

    return rows
