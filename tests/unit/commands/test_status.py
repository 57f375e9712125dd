"""What `nightflow status` says where `[store] url` is not what the watcher has, or is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from nightflow.cli import app
from nightflow.config import Settings, StoreSettings
from nightflow.service.heartbeat import beat, heartbeat_file
from nightflow.service.instance_lock import only_instance
from nightflow.service.leases import service_tag
from nightflow.store import migrate
from nightflow.store.database import Database
from nightflow.store.ledger import receive

Named = Callable[[str], None]


@pytest.fixture
def named(tmp_path: Path) -> Iterator[Named]:
    """Give what names a store in the settings, under a service that works on another one."""

    def name(url: str) -> None:
        (tmp_path / "nightflow.toml").write_text(f'[store]\nurl = "{url}"\n')

    with Database(f"sqlite:///{tmp_path / 'old.sqlite'}") as ledger:
        ledger.upgrade()
        with only_instance(ledger):
            yield name


def _sign(seconds: float = 0.0, ledger: str = "sqlite:///old.sqlite") -> None:
    at = datetime.now(UTC) - timedelta(seconds=seconds)
    tag = service_tag(Settings(root=Path.cwd(), store=StoreSettings(url=ledger)).store_url)
    beat(heartbeat_file(Path("nightflow.toml")), now=at, in_work=1, landing=0, folders=1, ledger=tag)


def _status(*options: str) -> Result:
    result = CliRunner().invoke(app, ["status", *options])
    assert "Traceback" not in result.output
    return result


def _ledger(path: Path) -> None:
    with Database(f"sqlite:///{path}") as ledger:
        ledger.upgrade()
        receive(ledger, "/incoming/a.fits", "0" * 64, 2880, now=datetime.now(UTC))


def test_a_watcher_on_another_ledger_than_the_settings_name_is_alive(named: Named, tmp_path: Path) -> None:
    _ledger(tmp_path / "new.sqlite")
    named("sqlite:///new.sqlite")
    _sign()
    asked = _status("--check")
    assert asked.exit_code == 0
    assert "watch:       running (process" in asked.output
    assert "1 in work" in asked.output
    assert "another one than `[store] url` names now, which counts from the next start on" in asked.output
    assert "a.fits" in asked.output
    told = json.loads(_status("--format", "json").stdout)
    assert told["watch"]["running"]
    assert told["watch"]["other_ledger"]
    _sign(seconds=7200)
    asked = _status("--check")
    assert asked.exit_code == 1
    assert "no sign of life for 2 hours, although process" in asked.output, "to start another one is no mend"
    named("sqlite:///old.sqlite")
    _sign()
    asked = _status("--check")
    assert asked.exit_code == 0
    assert "ledger:" not in asked.output


def test_a_watcher_that_has_lost_its_lock_is_on_no_other_ledger(tmp_path: Path, named: Named) -> None:
    named("sqlite:///new.sqlite")
    _ledger(tmp_path / "new.sqlite")
    _sign(ledger="sqlite:///new.sqlite")
    asked = _status("--check")
    assert asked.exit_code == 0
    assert "ledger:      nobody holds its lock" in asked.output
    assert "another one than" not in asked.output
    _sign(seconds=7200, ledger="sqlite:///new.sqlite")
    asked = _status("--check")
    assert asked.exit_code == 1
    assert "it hangs" in asked.output
    assert "nobody holds its lock" not in asked.output, "one that hangs does not take it again"


@pytest.mark.parametrize("noted", [True, False], ids=["its parent took note", "its parent did not"])
def test_a_watcher_that_was_killed_just_now_is_not_taken_for_one_elsewhere(
    named: Named, tmp_path: Path, noted: bool
) -> None:
    _ledger(tmp_path / "new.sqlite")
    named("sqlite:///new.sqlite")
    killed = (
        "from datetime import UTC, datetime\n"
        "from pathlib import Path\n"
        "from nightflow.service.heartbeat import beat, heartbeat_file\n"
        "beat(heartbeat_file(Path('nightflow.toml')), now=datetime.now(UTC), in_work=0, landing=0)\n"
    )
    with subprocess.Popen([sys.executable, "-c", killed]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        if noted:
            process.wait()
        assert heartbeat_file(tmp_path / "nightflow.toml").is_file()
        asked = _status("--check")
    assert asked.exit_code == 1
    assert "NOT RUNNING" in asked.output


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("sqlite:///mistyped.sqlite", "there is no such database"),
        ("sqlite:///nightflow.toml/under/a/file.sqlite", "there is no such database"),
        (f"sqlite:///{'n' * 300}/store.sqlite", "cannot be looked at"),
        ("mysql://x", "use sqlite:///"),
        ("postgresql+psycopg://me@127.0.0.1:9/night", "away"),
    ],
)
def test_a_store_that_is_named_wrongly_does_not_make_a_watcher_ill(
    named: Named, tmp_path: Path, url: str, fault: str
) -> None:
    named(url)
    before = sorted(tmp_path.iterdir())
    alone = _status("--check")
    assert alone.exit_code == 1
    assert fault in alone.output
    assert "watch:" not in alone.output, "no sign of life: as without a service"
    assert sorted(tmp_path.iterdir()) == before, "it makes no store"
    _sign()
    asked = _status("--check")
    assert asked.exit_code == 0
    assert "watch:       running (process" in asked.output
    assert "store:       " in asked.output
    assert fault in asked.output
    told = json.loads(_status("--check", "--format", "json").stdout)
    assert fault in told["store_error"]
    assert told["settings_error"] is None
    assert told["watch"]["running"]
    _sign(seconds=7200)
    assert _status("--check").exit_code == 1


def test_tables_of_an_older_version_are_told_and_left_to_others(named: Named, tmp_path: Path) -> None:
    named("sqlite:///older.sqlite")
    with Database(f"sqlite:///{tmp_path / 'older.sqlite'}") as older:
        older.upgrade("0017")
        asked = _status()
        assert asked.exit_code == 1
        assert "at revision 0017" in asked.output
        assert "start `nightflow watch` anew" in asked.output
        assert "before it is started" not in asked.output
        assert migrate.current(older.engine) == "0017"
        assert CliRunner().invoke(app, ["frames"]).exit_code == 0
        assert migrate.current(older.engine) == migrate.newest()
    assert _status().exit_code == 0
