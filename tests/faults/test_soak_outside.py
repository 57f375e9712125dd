"""What is outside: a Prefect server that comes and goes or never was, a service of catalogues that hangs."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.e2e.conftest import BIN, Server, clean_environment, free_port, prefect_server, wait_until
from tests.faults.site import Site
from tests.faults.soak import PATIENCE, Soak, begin, deliver_slowly

__all__ = ["prefect_server"]

pytestmark = [pytest.mark.e2e, pytest.mark.soak, pytest.mark.timeout(1200)]

FETCH = "catalog fetch --from apass --ra 10 --dec 20 --radius 0.2 --time-limit 5"
LIVE = {"name": {"any_": ["live"]}}


def under(url: str, soak: Soak) -> Site:
    """Return a site whose night is shown by the Prefect server at ``url``."""
    return soak.site(
        sections=f'\n[prefect]\napi_url = "{url}"\nprobe_seconds = 1.0\n',
        environment={"PREFECT_HOME": str(soak.root / "prefect")},
    )


@pytest.mark.fault("Prefect server never there")
def test_server_never_there(soak: Soak) -> None:
    site = under(f"http://127.0.0.1:{free_port()}/api", soak)
    site.start()
    deliver_slowly(site, 0.5).join()
    soak.check_night(site)


@pytest.mark.fault("Prefect server killed before a run")
def test_server_killed_before_a_run(soak: Soak, prefect_server: Server) -> None:
    site = under(prefect_server.url, soak)
    site.start()
    site.tells("watching ")
    wait_until(lambda: prefect_server.find("deployments", deployments=LIVE), PATIENCE, "its deployment")
    prefect_server.kill()
    site.deliver(*site.frames("bias", "dark", "flat", "light")[:-3])
    begin(site)
    prefect_server.start()
    come_back(site, prefect_server, soak)


@pytest.mark.fault("Prefect server killed during a run")
def test_server_killed_during_a_run(soak: Soak, prefect_server: Server) -> None:
    site = under(prefect_server.url, soak)
    site.start()
    site.deliver(*site.frames("bias", "dark", "flat", "light")[:-3])
    wait_until(lambda: "RUNNING" in states_of_lights(prefect_server), PATIENCE, "a light's run")
    prefect_server.kill()
    begin(site)
    prefect_server.start()
    come_back(site, prefect_server, soak)


@pytest.mark.fault("Prefect server killed after a run")
def test_server_killed_after_a_run(soak: Soak, prefect_server: Server) -> None:
    site = under(prefect_server.url, soak)
    site.start()
    frames = site.frames("bias", "dark", "flat", "light")
    site.deliver(*frames[:-5])
    wait_until(lambda: "COMPLETED" in states_of_lights(prefect_server), PATIENCE, "a light's run to end")
    site.wait_until_settled([path.name for path in frames[:-5]], seconds=PATIENCE)
    wait_until(lambda: not open_runs(prefect_server), PATIENCE, "all runs to end")
    prefect_server.kill()
    site.deliver(*frames[-5:-3])
    site.wait_for(frames[-4].name, "done", seconds=PATIENCE)
    prefect_server.start()
    come_back(site, prefect_server, soak)


def come_back(site: Site, server: Server, soak: Soak) -> None:
    """What was done meanwhile is listed, nothing is left open, and the last lights are shown again."""
    caught_up = {"name": {"any_": ["catch-up"]}}
    wait_until(
        lambda: [run for run in runs_of(site, server, flows=caught_up) if run["state_type"] == "COMPLETED"],
        PATIENCE,
        "the catch-up run",
    )
    last = site.frames("light")[-3:]
    site.deliver(*last)
    site.wait_until_settled([path.name for path in last], seconds=PATIENCE)
    wait_until(lambda: not open_runs(server), PATIENCE, "all runs to be closed")
    shown = {run["name"].split()[0] for run in server.find("flow_runs", deployments=LIVE)}
    assert last[-1].name in shown
    soak.check_night(site)


def runs_of(site: Site, server: Server, **filters: object) -> list[dict[str, str]]:
    """Return the runs that began since the site's watcher did: the server has shown other nights."""
    began = site.settings.stat().st_mtime
    after = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began))
    return server.find("flow_runs", flow_runs={"expected_start_time": {"after_": after}}, **filters)


def states_of_lights(server: Server) -> set[str]:
    return {run["state_type"] for run in server.find("flow_runs", deployments=LIVE) if "light" in run["name"]}


def open_runs(server: Server) -> list[str]:
    runs = server.find("flow_runs", deployments=LIVE)
    return [run["name"] for run in runs if run["state_type"] in ("PENDING", "RUNNING", "CANCELLING")]


@pytest.mark.fault("catalogue service hung")
def test_catalogue_service_hung(soak: Soak) -> None:
    """It takes the question and never answers: `catalog fetch` says so in time, and the night goes on."""
    site = soak.site()
    site.start()
    coming = deliver_slowly(site, 0.5)
    begin(site)
    with silent_server() as (url, asked):
        told = subprocess.run(
            [BIN / "nightflow", *FETCH.split(), "--config", str(site.settings)],
            env=clean_environment() | {"HTTPS_PROXY": url, "HTTP_PROXY": url, "https_proxy": url},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert asked, "nobody asked"
    assert told.returncode == 1
    assert "no answer in 5 s" in " ".join(told.stderr.split()), told.stderr
    coming.join()
    soak.check_night(site)


@contextmanager
def silent_server() -> Iterator[tuple[str, list[socket.socket]]]:
    """Give the address of a server that accepts and never answers, and whom it has accepted."""
    accepted: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    accepted.append(server.accept()[0])

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", accepted
        server.shutdown(socket.SHUT_RDWR)
    for connection in accepted:
        connection.close()
