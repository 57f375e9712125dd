"""No password is shown: not of a URL that is right, and not of one that was typed wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.engine import URL
from typer.testing import CliRunner

from nightflow.cli import app
from nightflow.config import Settings
from nightflow.doctor.services import check_prefect
from nightflow.doctor.storage import check_store
from nightflow.errors import NightflowError
from nightflow.pipeline.reducer import Reducer
from nightflow.service import live
from nightflow.shown_url import shown_text, shown_url
from nightflow.store.database import Database

SECRET = "Zk7qVmPw"
CLOSED = f"postgresql+psycopg://me:{SECRET}@127.0.0.1:9/night"
"""Nothing listens on the discard port."""


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+psycopg://me:SECRET@host:5432/night", "postgresql+psycopg://me:***@host:5432/night"),
        ("postgresql://me:a@SECRET/x:y@host/night", "postgresql://me:***@host/night"),
        ("postgresql://me:SECRET/night", "postgresql://me:***/night"),
        ("postgresql://:SECRET@host/night", "postgresql://:***@host/night"),
        ("postgresql:/me:SECRET@host/night", "postgresql:/me:***@host/night"),
        ("me:SECRET@host", "me:***@host"),
        ("postgresql:///night?host=/run&password=SECRET&user=me", "postgresql:///night?host=/run&password=***&user=me"),
        ("https://me:SECRET@server/api", "https://me:***@server/api"),
        ("https://server/api?api_key=SECRET", "https://server/api?api_key=***"),
        ("postgresql://host:5432/night", "postgresql://host:5432/night"),
        ("postgresql://host:5432", "postgresql://host:5432"),
        ("postgresql://me@host/night", "postgresql://me@host/night"),
        ("sqlite:////data/me:you@home/night.sqlite", "sqlite:////data/me:you@home/night.sqlite"),
        ("nothing", "nothing"),
    ],
)  # fmt: skip
def test_passwords_are_hidden_and_the_rest_is_shown(url: str, shown: str) -> None:
    assert shown_url(url.replace("SECRET", SECRET)) == shown


@pytest.mark.parametrize("password", ["plain", "with space", "a@b", "a/b:c", "ü%20", "a'b\"c"])
def test_any_password_that_a_url_can_hold_is_hidden(password: str) -> None:
    url = URL.create("postgresql+psycopg", "me", password, "host", 5432, "night")
    assert shown_url(url.render_as_string(hide_password=False)) == url.render_as_string(hide_password=True)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Client error '404' for url 'http://me:SECRET@host:4200/api/'", "Client error '404' for url 'http://me:***@host:4200/api/'"),
        ("https://me:a@SECRET@host and http://x:SECRET@host", "https://me:***@host and http://x:***@host"),
        ('"http://host/api?token=SECRET&page=2"', '"http://host/api?token=***&page=2"'),
        ("at http://127.0.0.1:4200/api: mail me@home", "at http://127.0.0.1:4200/api: mail me@home"),
        ("sqlite:////data/night.sqlite: 12:30 a@b", "sqlite:////data/night.sqlite: 12:30 a@b"),
        ("21:05 of /raw/a:b@c.fits", "21:05 of /raw/a:b@c.fits"),
    ],
)  # fmt: skip
def test_passwords_in_a_text_are_hidden(text: str, shown: str) -> None:
    assert shown_text(text.replace("SECRET", SECRET)) == shown


@pytest.mark.parametrize(
    "url",
    [f"postgresql://me:{SECRET}", f"mysql://me:{SECRET}@host/x", f"postgresql:/me:{SECRET}@host", CLOSED],
)
def test_no_error_of_the_store_tells_it(url: str) -> None:
    def use() -> None:
        Database(url, busy_seconds=2).upgrade()

    assert SECRET not in told_by(use)


def test_no_error_of_the_reducer_tells_it(tmp_path: Path) -> None:
    reducer = Reducer(Settings(root=tmp_path), missing_calibration="warn")
    reducer.database.shown = Database(CLOSED).shown
    with reducer.database, pytest.raises(KeyError, match=r"exposure 1 is not in the ledger .*me:\*\*\*@127"):
        reducer.identify(1)


def told_by(action: Callable[[], object]) -> str:
    """Return all that an error tells, its causes included."""
    with pytest.raises(NightflowError) as caught:
        action()
    told, error = "", caught.value.with_traceback(None)
    while error is not None:
        told += f"{error!r} {error}\n"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)  # type: ignore[assignment]
    return told


def test_doctor_does_not_tell_it(tmp_path: Path) -> None:
    for store, server in ((CLOSED, f"http://me:{SECRET}@127.0.0.1:9/api"), (CLOSED, f"http://me:{SECRET}")):
        settings = Settings(root=tmp_path, store={"url": store}, prefect={"api_url": server})  # type: ignore[arg-type]
        found = [*check_store(settings), *check_prefect(settings, patience=1)]
        assert len(found) >= 2
        assert not [one for one in found if SECRET in f"{one}"]


def test_settings_that_are_wrong_do_not_tell_it(tmp_path: Path) -> None:
    file = tmp_path / "nightflow.toml"
    file.write_text(f'store = "{CLOSED}"\n')
    printed = CliRunner().invoke(app, ["status", "--config", str(file)])
    assert printed.exit_code == 1
    assert "store = '...'" in printed.output
    assert SECRET not in printed.output


def test_watch_tells_it_neither_on_screen_nor_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    file = tmp_path / "nightflow.toml"
    file.write_text(f'[store]\nurl = "{CLOSED}"\n[prefect]\nenabled = false\n')
    monkeypatch.setattr(live, "Database", lambda url: Database(url, busy_seconds=2))
    printed = CliRunner().invoke(app, ["watch", "--config", str(file)])
    assert printed.exit_code == 1
    assert "me:***@127.0.0.1:9/night" in printed.output
    assert SECRET not in printed.output + caplog.text


def test_init_does_not_tell_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTFLOW_STORE__URL", CLOSED)
    monkeypatch.setattr(Database, "upgrade", lambda self: None)
    printed = CliRunner().invoke(app, ["init", str(tmp_path / "dome")])
    assert printed.exit_code == 0
    assert "me:***@" in printed.output
    assert SECRET not in printed.output
