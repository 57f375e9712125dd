"""New settings while the service runs."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from nightflow.config import Settings, load_settings
from nightflow.errors import ConfigurationError
from nightflow.service.live import watch
from nightflow.service.process import set_by_hangup
from nightflow.service.reload import SettingsReload
from nightflow.store.database import Database
from nightflow.store.models import State

TEXT = """
[watch]
folders = ["incoming"]
settle_seconds = 0.1
[prefect]
enabled = false
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    for folder in ("incoming", "second"):
        (tmp_path / folder).mkdir()
    file = tmp_path / "nightflow.toml"
    file.write_text(TEXT)
    return file


def test_store_and_server_stay_until_the_next_start(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    old = load_settings(file)
    file.write_text(
        TEXT.replace('"incoming"', '"second"') + '[store]\nurl = "postgresql://me:secret@host/night"\n'
    )
    new, reducer = SettingsReload(lambda: load_settings(file))(old)
    with reducer.database:
        assert (new.store, new.watch.folders) == (old.store, [Path("second")])
        assert reducer.settings is new
    assert "changed: watch.folders = [second]" in caplog.text
    assert "settings [store]: what was changed there counts from the next start on" in caplog.text
    assert "secret" not in caplog.text


def test_a_camera_profile_that_is_wrong_is_refused(file: Path, tmp_path: Path) -> None:
    (tmp_path / "cameras").mkdir()
    (tmp_path / "cameras/mine.toml").write_text("nmae = 'x'")
    with pytest.raises(ConfigurationError, match=r"mine\.toml"):
        SettingsReload(lambda: load_settings(file))(load_settings(file))


def test_a_hangup_asks_for_new_settings_and_the_handler_comes_back() -> None:
    before = signal.getsignal(signal.SIGHUP)
    asked = threading.Event()
    with set_by_hangup(asked):
        os.kill(os.getpid(), signal.SIGHUP)
        assert asked.wait(2)
    assert signal.getsignal(signal.SIGHUP) is before


def test_a_hangup_reads_wrong_settings_and_then_right_ones(
    file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A whole service with real files: the folder that was added is looked at, the one taken away is not."""
    caplog.set_level(logging.INFO)
    stop = threading.Event()

    def wait_for(said: str) -> None:
        deadline = time.monotonic() + 200  # kernels may have to be compiled first
        while said not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.05)

    def at_the_dome() -> None:
        wait_for("alive")
        os.kill(os.getpid(), signal.SIGHUP)
        wait_for("the old ones stay")
        file.write_text(TEXT.replace('"incoming"', '"second"'))
        os.kill(os.getpid(), signal.SIGHUP)
        wait_for("new settings taken")
        (tmp_path / "incoming/late.fits").write_bytes(b"nobody looks here any more")
        (tmp_path / "second/new.fits").write_bytes(b"no frame either")
        wait_for("file=new.fits")
        stop.set()

    settings = load_settings(file)
    file.write_text(TEXT.replace("folders", "workerz = 1\nfolders"))
    (tmp_path / "incoming/alive.fits").write_bytes(b"no frame")
    dome = threading.Thread(target=at_the_dome)
    dome.start()
    ended = watch(settings, stop=stop, load=lambda: load_settings(file))
    dome.join()
    assert "new settings not taken, the old ones stay" in caplog.text
    assert "did you mean workers?" in caplog.text
    assert ended[State.REJECTED] == 2
    assert "late.fits" not in caplog.text


def test_what_may_be_a_secret_is_named_and_not_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = Settings(root=tmp_path)
    new = Settings(
        root=tmp_path,
        notify={
            "webhook": "https://host/sesame",
            "command": ["tell", "--token", "sesame"],
            "again_minutes": 5,
        },  # type: ignore[arg-type]
        astrometry={"nova_url": "https://me:sesame@host"},  # type: ignore[arg-type]
    )
    Database(old.store_url).upgrade()
    with caplog.at_level("INFO"):
        SettingsReload(lambda: new)(old)
    assert "notify.webhook" in caplog.text
    assert "notify.command" in caplog.text
    assert "notify.again_minutes = 5.0" in caplog.text
    assert "astrometry.nova_url = https://me:***@host" in caplog.text
    assert "sesame" not in caplog.text
