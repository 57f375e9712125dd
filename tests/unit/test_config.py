"""Settings: what is missing has a default, what is wrong is named with its mend."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

import pytest

from nightflow.commands.setup import SETTINGS_TEXT
from nightflow.config import Settings, load_settings
from nightflow.errors import ConfigurationError


@pytest.fixture(autouse=True)
def _no_settings_of_a_person(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for key in [key for key in os.environ if key.startswith("NIGHTFLOW_")]:
        monkeypatch.delenv(key)
    monkeypatch.chdir(tmp_path)


def written(tmp_path: Path, text: str = "") -> Path:
    file = tmp_path / "nightflow.toml"
    file.write_text(text)
    return file


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path))
    assert settings.run.missing_calibration == "warn"
    assert settings.watch.missing_calibration == "hold"
    assert settings.store_url == f"sqlite:///{tmp_path}/nightflow.sqlite"
    assert settings.resolve(settings.paths.masters) == tmp_path / "masters"


def test_the_file_that_init_writes_says_the_defaults(tmp_path: Path) -> None:
    assert load_settings(written(tmp_path, SETTINGS_TEXT)) == load_settings(written(tmp_path))
    without = SETTINGS_TEXT.replace("products = true", "products = false")
    settings = load_settings(written(tmp_path, without))
    assert not settings.run.products
    assert not settings.watch.products


class TestWhichFile:
    """--config, else NIGHTFLOW_CONFIG, else ./nightflow.toml."""

    def test_the_one_in_the_folder(self, tmp_path: Path) -> None:
        written(tmp_path, "[watch]\nworkers = 3\n")
        assert load_settings().watch.workers == 3

    def test_the_environment_wins_over_the_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written(tmp_path, "[watch]\nworkers = 3\n")
        (tmp_path / "other").mkdir()
        monkeypatch.setenv("NIGHTFLOW_CONFIG", str(written(tmp_path / "other", "[watch]\nworkers = 4\n")))
        assert load_settings().watch.workers == 4
        assert load_settings().root == tmp_path / "other"

    def test_the_option_wins_over_all(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NIGHTFLOW_CONFIG", "/nowhere/nightflow.toml")
        assert load_settings(written(tmp_path)).root == tmp_path

    def test_none_is_an_error_with_its_mend(self) -> None:
        with pytest.raises(ConfigurationError, match=r"nightflow\.toml: no settings file; .*nightflow init"):
            load_settings()


class TestEnvironment:
    """NIGHTFLOW_<SECTION>__<KEY> wins over the file."""

    def test_a_key(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NIGHTFLOW_WATCH__WORKERS", "2")
        settings = load_settings(written(tmp_path, "[watch]\nworkers = 5\nsweep_seconds = 9\n"))
        assert (settings.watch.workers, settings.watch.sweep_seconds) == (2, 9)

    def test_a_wrong_value_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NIGHTFLOW_WATCH__WORKERS", "many")
        with pytest.raises(ConfigurationError, match=r"watch\.workers = 'many'"):
            load_settings(written(tmp_path))

    def test_a_key_of_a_service_is_told_nobody(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NIGHTFLOW_ASTROMETRY__NOVA_KEY", "sesame")
        settings = load_settings(written(tmp_path))
        assert settings.astrometry.nova_key.get_secret_value() == "sesame"
        assert "sesame" not in f"{settings!r} {settings} {settings.model_dump_json()}"
        monkeypatch.delenv("NIGHTFLOW_ASTROMETRY__NOVA_KEY")
        with pytest.raises(ConfigurationError, match=r"astrometry\.nova_key = '\.\.\.': ") as caught:
            load_settings(written(tmp_path, "[astrometry]\nnova_key = 73797\n"))
        assert "73797" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[watch]\nworker = 2\n", r"unknown key watch\.worker; did you mean workers\?"),
        ("[wacth]\nworkers = 2\n", r"unknown key wacth; did you mean watch\?"),
        (
            "[prefect]\nzzzzzzz = 1\n",
            r"unknown key prefect\.zzzzzzz; known keys: api_url, dask_address, enabled",
        ),
        ("[prefect]\ndask_address = 'dome'\n", r"prefect\.dask_address = 'dome': .*tcp"),
        ("[watch]\nworkers = 0\n", r"watch\.workers = 0: .*greater than or equal to 1"),
        ("[run]\nmissing_calibration = 'stop'\n", r"run\.missing_calibration = 'stop': .*'warn' or 'hold'"),
        ("[watch\n", "not valid TOML"),
        ("[astrometry]\nladder = ['hnt']\n", r"astrometry\.ladder\.0 = 'hnt': .*'previous'"),
        ("[astrometry]\nladder = []\n", r"astrometry\.ladder = \[\]: .*at least 1"),
    ],
)
def test_what_is_wrong_is_named_with_its_mend(tmp_path: Path, text: str, message: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ConfigurationError, match=message) as caught:
        load_settings(file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[notify]\ncommand = '/bin/send --token sesame'\n", "notify.command"),
        ("[notify]\ncommand = ['/bin/send', {token = 'sesame'}]\n", "notify.command.1"),
        ("[notify]\nwebhook = ['https://host/sesame']\n", "notify.webhook"),
        ("[notify]\nagain_minutes = 'https://host/sesame'\n", "notify.again_minutes"),
        ("notify = 'https://host/sesame'\n", "notify"),
        ("[store]\nurl = ['postgresql://me:sesame@host/night']\n", "store.url"),
        ("[store.url]\npassword = 'sesame'\n", "store.url"),
        ("store = ['sesame']\n", "store"),
        ("[astrometry]\nnova_key = ['sesame']\n", "astrometry.nova_key"),
        ("astrometry = 'sesame'\n", "astrometry"),
    ],
)
def test_what_may_be_a_secret_is_told_nobody_whatever_it_is(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(written(tmp_path, text))
    assert f": {key} = '...': Input should be " in str(caught.value)
    # With what it was made of, as the log has it where an error was not foreseen.
    assert "sesame" not in "".join(traceback.format_exception(caught.value))


def test_a_secret_of_the_environment_is_told_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("nightflow_notify__command", '{"token": "sesame"}')
    monkeypatch.setenv("NIGHTFLOW_STORE", '{"url": {"password": "sesame"}}')
    with pytest.raises(ConfigurationError) as caught:
        load_settings(written(tmp_path))
    assert "notify.command = '...'" in str(caught.value)
    assert "store.url = '...'" in str(caught.value)
    assert "sesame" not in str(caught.value)


def test_a_list_of_the_environment_that_is_no_json_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTFLOW_NOTIFY__COMMAND", "/bin/send --token sesame")
    monkeypatch.setenv("NIGHTFLOW_NOTIFY__AGAIN_MINUTES", "5")
    monkeypatch.setenv("NIGHTFLOW_NOTIFY__WEBHOOK", "https://host/sesame")
    with pytest.raises(ConfigurationError, match=r"^environment: NIGHTFLOW_NOTIFY__COMMAND: no ") as caught:
        load_settings(written(tmp_path))
    assert "sesame" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("wrong", ["NIGHTFLOW_WATCH", "NIGHTFLOW_WATCH__FOLDERS", "nightflow_watch__limits"])
def test_of_the_environment_only_what_is_wrong_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    right = {
        "NIGHTFLOW_CONFIG": str(tmp_path),
        "NIGHTFLOW_ENGINE": "fast",
        "NIGHTFLOW_STORE__URL": "sqlite://",
        "NIGHTFLOW_WATCH__POLLING": "always",
        "NIGHTFLOW_WATCH__LIMITS__OTHER": "30.",
        "NIGHTFLOW_WATCHER": "somebody",
    }
    for name, text in {**right, wrong: "no json"}.items():
        monkeypatch.setenv(name, text)
    with pytest.raises(ConfigurationError, match=f"^environment: {wrong}: no JSON"):
        load_settings(written(tmp_path))


def test_other_values_are_shown_without_passwords(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"prefect\.api_url = \['http://me:\*\*\*@host/api'\]: "):
        load_settings(written(tmp_path, "[prefect]\napi_url = ['http://me:sesame@host/api']\n"))


def test_a_file_that_cannot_even_be_looked_at_is_told(tmp_path: Path) -> None:
    """As in a folder that this user may not search; a name that is too long fails for root, too."""
    for file in (tmp_path / ("n" * 300), tmp_path / ("n" * 300) / "nightflow.toml"):
        with pytest.raises(ConfigurationError, match=r"cannot be read: .*File name too long") as caught:
            load_settings(file)
        assert str(file) in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may search every folder")
def test_settings_in_a_folder_that_may_not_be_searched_are_told(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    written(folder)
    folder.chmod(0o600)
    try:
        with pytest.raises(ConfigurationError, match=r"cannot be read: .*Permission denied"):
            load_settings(folder / "nightflow.toml")
    finally:
        folder.chmod(0o700)


def test_several_faults_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(written(tmp_path, "[watch]\nworkers = 0\nsweep_seconds = 0\n"))
    assert "watch.workers" in str(caught.value)
    assert "watch.sweep_seconds" in str(caught.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///data/night.sqlite", "sqlite:///{root}/data/night.sqlite"),
        ("sqlite:////var/night.sqlite", "sqlite:////var/night.sqlite"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("postgresql+psycopg://me@host/night", "postgresql+psycopg://me@host/night"),
    ],
)
def test_a_relative_store_lies_beside_the_file(tmp_path: Path, url: str, expected: str) -> None:
    settings = load_settings(written(tmp_path, f'[store]\nurl = "{url}"\n'))
    assert settings.store_url == expected.format(root=tmp_path)


def test_settings_do_not_change(tmp_path: Path) -> None:
    settings: Settings = load_settings(written(tmp_path))
    with pytest.raises(ValueError, match="frozen"):
        settings.watch.workers = 2  # type: ignore[misc]
