"""When the night's end is scheduled."""

import asyncio
import sys
from pathlib import Path

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from nightflow.config import Settings, SiteSettings
from nightflow.errors import ConfigurationError
from nightflow.service import prefect_deployments
from nightflow.service.prefect_deployments import DEPLOYED_FROM, dawn_crons, deploy, noon_cron
from nightflow.service.prefect_runs import _fault


def by_month(latitude: float, longitude: float) -> dict[int, float]:
    """Return month -> hour (UTC)."""
    fields = [one.split() for one in dawn_crons(SiteSettings(latitude=latitude, longitude=longitude))]
    assert all(one[2] == one[4] == "*" for one in fields)
    return {int(month): int(hour) + int(minute) / 60.0 for minute, hour, _, month, _ in fields}


def test_on_la_palma_it_follows_the_seasons():
    """Nautical dawn is at 05:15 UTC in mid-June and at 07:05 in early January there."""
    hours = by_month(28.76, -17.88)
    assert sorted(hours) == list(range(1, 13))
    assert hours[6] == pytest.approx(5.25 + 0.5, abs=0.2)
    assert hours[1] == pytest.approx(7.1 + 0.5, abs=0.2)


def test_far_west_and_far_east_of_greenwich_it_is_the_local_morning():
    for longitude in (-155.0, 149.0):
        local = {(hour + longitude / 15.0) % 24.0 for hour in by_month(-30.0, longitude).values()}
        assert min(local) > 4.0
        assert max(local) < 7.5


@pytest.mark.parametrize("latitude", [56.0, 60.0, 65.0, 70.0, -70.0])
def test_nights_end_also_where_it_does_not_get_dark(latitude: float):
    """And not before midnight, whether the Sun sets or not."""
    hours = by_month(latitude, 0.0)
    assert sorted(hours) == list(range(1, 13))
    white = hours[6] if latitude > 0 else hours[12]
    assert 0.25 < white < 4.5


def test_a_white_night_ends_with_the_deepest_twilight_that_it_reaches():
    """At 58 degrees that is the civil one, at 65 the Sun rises soon after it sets, at 75 it never sets."""
    assert by_month(58.0, 0.0)[6] == pytest.approx(1.9 + 0.5, abs=0.4)
    assert by_month(65.0, 0.0)[6] == pytest.approx(1.6 + 0.5, abs=0.6)
    assert by_month(75.0, 0.0)[6] == pytest.approx(0.0 + 0.5, abs=0.1)


@pytest.mark.parametrize(
    ("longitude", "cron"), [(0.0, "30 12 * * *"), (-155.5, "52 22 * * *"), (149.06, "34 2 * * *")]
)
def test_days_work_is_done_by_day(longitude: float, cron: str):
    assert noon_cron(SiteSettings(latitude=0.0, longitude=longitude), 30) == cron


SECRET = "Zk7qVmPw"
SERVER = f"http://me:{SECRET}@127.0.0.1:9/api"
"""Nothing listens on the discard port."""


def refused_with() -> str:
    with temporary_settings({PREFECT_API_URL: SERVER}), pytest.raises(ConfigurationError) as caught:
        asyncio.run(deploy(Settings(), DEPLOYED_FROM, no_frame_minutes=20.0))
    return str(caught.value)


def test_a_server_that_is_away_is_named_without_its_password():
    assert refused_with().startswith(
        "no answer from the Prefect server at http://me:***@127.0.0.1:9/api/: start it"
    )


def test_what_the_server_refuses_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch):
    async def answers(_: object) -> None:
        return None

    async def refuse(_: object) -> None:
        raise httpx.HTTPStatusError(
            f"403 for url '{SERVER}/work_pools/'",
            request=httpx.Request("POST", SERVER),
            response=httpx.Response(403),
        )

    monkeypatch.setattr("prefect.client.orchestration.PrefectClient.api_healthcheck", answers)
    monkeypatch.setattr(prefect_deployments, "_make_queues", refuse)
    assert "403 for url 'http://me:***@127.0.0.1:9/api/work_pools/'" in refused_with()


def test_the_fault_of_a_run_has_no_password():
    error = httpx.ConnectError(f"no route to {SERVER}\nsecond line")
    assert _fault(error).message == "ConnectError: no route to http://me:***@127.0.0.1:9/api"


def test_prefects_own_command_gets_what_its_server_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing else that is secret."""
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nenv > {tmp_path / 'said'}\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setenv("PREFECT_API_KEY", "sesame")
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "ali:baba")
    monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", "postgresql://forty")
    prefect_deployments._deploy_file(DEPLOYED_FROM)
    said = (tmp_path / "said").read_text().splitlines()
    assert {"PREFECT_API_KEY=sesame", "PREFECT_API_AUTH_STRING=ali:baba"} <= set(said)
    assert not any("forty" in line for line in said)
