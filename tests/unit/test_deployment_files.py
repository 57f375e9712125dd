"""What stands under deployments/ is what the program has, and listens on loopback."""

from __future__ import annotations

import configparser
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

import nightflow
from nightflow.cli import app
from nightflow.config import Settings
from nightflow.service.prefect_deployments import DEPLOYED_FROM
from nightflow.service.prefect_environment import SERVER

DEPLOYMENTS = Path(__file__).parents[2] / "deployments"
UNITS = sorted((DEPLOYMENTS / "systemd").glob("*.service"))
COMMANDS = set(get_command(app).commands)  # type: ignore[attr-defined]


def unit(file: Path) -> configparser.ConfigParser:
    parsed = configparser.ConfigParser(strict=False, interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read_string(file.read_text())
    return parsed


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOYMENTS / "compose.yaml").read_text()))


def test_there_are_units() -> None:
    assert {file.name for file in UNITS} >= {"nightflow-watch.service", "prefect-server.service"}


@pytest.mark.parametrize("file", UNITS, ids=lambda file: file.name)
def test_units_start_what_there_is(file: Path) -> None:
    words = shlex.split(unit(file)["Service"]["ExecStart"])
    if words[0].endswith("/nightflow"):
        assert words[1] in COMMANDS
    else:
        assert words[0].endswith("/prefect")
    for other in re.findall(r"[\w@-]+\.service", unit(file)["Unit"].get("Wants", "")):
        assert (DEPLOYMENTS / "systemd" / other).is_file()
    # No secret stands in a file that everybody may read.
    assert "password" not in file.read_text().lower()


def test_the_watcher_is_reloaded_stopped_and_restarted_as_it_expects() -> None:
    service = unit(DEPLOYMENTS / "systemd" / "nightflow-watch.service")["Service"]
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert service["KillSignal"] == "SIGTERM"
    assert int(service["TimeoutStopSec"]) >= 15
    assert service["Restart"] == "always"


def test_units_that_reduce_have_a_place_for_kernels() -> None:
    """Where neither packages nor home may be written numba refuses to compile."""
    folder = "NUMBA_CACHE_DIR=/srv/nightflow/.numba"
    for name in ("nightflow-watch.service", "nightflow-worker.service"):
        lines = (DEPLOYMENTS / "systemd" / name).read_text().splitlines()
        assert {"ProtectSystem=strict", f"Environment={folder}", "ReadWritePaths=/srv/nightflow"} <= set(
            lines
        )
    assert folder in (DEPLOYMENTS / "Dockerfile").read_text()


def test_the_server_listens_on_loopback() -> None:
    words = shlex.split(unit(DEPLOYMENTS / "systemd" / "prefect-server.service")["Service"]["ExecStart"])
    assert words[words.index("--host") + 1] == "127.0.0.1"


def test_containers_are_reached_from_this_machine_only() -> None:
    for name, service in compose()["services"].items():
        for port in service.get("ports", []):
            assert str(port).startswith("127.0.0.1:"), (name, port)


def test_containers_start_what_there_is() -> None:
    services = compose()["services"]
    for name in ("watch", "dashboard"):
        assert services[name]["command"][0] in COMMANDS
    dockerfile = (DEPLOYMENTS / "Dockerfile").read_text()
    for copied in re.findall(r"^COPY (.+) \S+$", dockerfile, re.MULTILINE):
        for one in copied.split():
            assert (DEPLOYMENTS.parent / one).exists(), one


def test_prefect_never_shares_the_database_of_the_light_curves() -> None:
    services = compose()["services"]
    ours = services["watch"]["environment"]["NIGHTFLOW_STORE__URL"]
    theirs = services["prefect"]["environment"]["PREFECT_API_DATABASE_CONNECTION_URL"]
    assert ours.split("@")[1] != theirs.split("@")[1]


def test_passwords_of_databases_stand_in_no_url() -> None:
    """There some characters would end them."""
    services = compose()["services"]
    for service, database, name in (("watch", "store", "NIGHTFLOW"), ("prefect", "prefect-db", "PREFECT")):
        known = services[service]["environment"]
        assert not [key for key, value in known.items() if "PASSWORD" in value and key != "PGPASSWORD"]
        assert known["PGPASSWORD"] == services[database]["environment"]["POSTGRES_PASSWORD"]
        assert known["PGPASSWORD"].startswith(f"${{{name}_DB_PASSWORD:?")


def test_a_container_is_healthy_while_the_service_is_alive() -> None:
    program, *words = compose()["services"]["watch"]["healthcheck"]["test"][1:]
    assert program == "nightflow"
    # An option that there is not is a fault, with --help too.
    assert CliRunner().invoke(app, [*words, "--help"]).exit_code == 0
    assert CliRunner().invoke(app, [*words, "--no-such", "--help"]).exit_code == 2


def test_a_database_is_healthy_when_it_can_be_reached() -> None:
    """Not while the server of its first set-up runs, which listens on no address."""
    for name in ("store", "prefect-db"):
        words = shlex.split(compose()["services"][name]["healthcheck"]["test"][1])
        assert words[words.index("--host") + 1] == "127.0.0.1"


def test_the_comment_on_secrets_stands_over_their_file() -> None:
    lines = (DEPLOYMENTS / "systemd" / "nightflow-watch.service").read_text().splitlines()
    (comment,) = [number for number, line in enumerate(lines) if line.startswith("# Secrets")]
    assert lines[comment + 1].startswith("EnvironmentFile=")


def test_what_deploy_makes_comes_with_the_package() -> None:
    """The container has no checkout, nor has a wheel."""
    package = Path(nightflow.__file__).parent
    assert package in DEPLOYED_FROM.parents
    assert (DEPLOYMENTS / "prefect.yaml").read_bytes() == DEPLOYED_FROM.read_bytes()
    packed = tomllib.loads((DEPLOYMENTS.parent / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert f"**/*{DEPLOYED_FROM.suffix}" in packed["package-data"]["nightflow"]


def test_servers_write_the_events_of_runs_together() -> None:
    composed = compose()["services"]["prefect"]["environment"]
    lines = (DEPLOYMENTS / "systemd" / "prefect-server.service").read_text().splitlines()
    for name, value in SERVER.items():
        assert composed[name] == value
        assert f"Environment={name}={value}" in lines


def test_the_example_has_every_section_and_no_other() -> None:
    content = tomllib.loads((DEPLOYMENTS / "example-nightflow.toml").read_text())
    Settings(**content)
    assert set(content) <= set(Settings.model_fields)
    assert {"store", "paths", "run", "watch", "products", "prefect", "site", "notify"} <= set(content)
