"""What is outside: a Prefect server that comes and goes or never was, a service of catalogues that hangs."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import Server, free_port, prefect_server, wait_until
from tests.faults.outside import LIVE, ask_a_silent_service, caught_up, open_runs, shown_by, states_of_lights
from tests.faults.site import Site
from tests.faults.soak import PATIENCE, Soak, begin, deliver_slowly

__all__ = ["prefect_server"]

pytestmark = [pytest.mark.e2e, pytest.mark.soak, pytest.mark.timeout(1200)]


def under(url: str, soak: Soak) -> Site:
    """Return a site whose night is shown by the Prefect server at ``url``."""
    return soak.site(**shown_by(url, soak.root))


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
    wait_until(lambda: caught_up(site, server), PATIENCE, "the catch-up run")
    last = site.frames("light")[-3:]
    site.deliver(*last)
    site.wait_until_settled([path.name for path in last], seconds=PATIENCE)
    wait_until(lambda: not open_runs(server), PATIENCE, "all runs to be closed")
    shown = {run["name"].split()[0] for run in server.find("flow_runs", deployments=LIVE)}
    assert last[-1].name in shown
    soak.check_night(site)


@pytest.mark.fault("catalogue service hung")
def test_catalogue_service_hung(soak: Soak) -> None:
    """It takes the question and never answers: `catalog fetch` says so in time, and the night goes on."""
    site = soak.site()
    site.start()
    coming = deliver_slowly(site, 0.5)
    begin(site)
    ask_a_silent_service(site)
    coming.join()
    soak.check_night(site)
