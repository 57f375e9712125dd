"""Prefect's environment on a telescope's computer."""

from __future__ import annotations

from nightflow.config import PrefectSettings
from nightflow.service.prefect_environment import prepare_environment


def prepared(settings: PrefectSettings, **before: str) -> dict[str, str]:
    environment = dict(before)
    prepare_environment(settings, environment)
    return environment


def test_nothing_is_reported_to_anybody_whatever_was_set() -> None:
    environment = prepared(PrefectSettings(), PREFECT_SERVER_ANALYTICS_ENABLED="true")
    assert environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert environment["DO_NOT_TRACK"] == "1"
    assert environment["PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"] == "false"


def test_settings_win_over_the_environment_and_an_empty_one_leaves_it() -> None:
    mine, theirs = "http://127.0.0.1:4201/api", "http://127.0.0.1:4200/api"
    assert prepared(PrefectSettings(api_url=mine), PREFECT_API_URL=theirs)["PREFECT_API_URL"] == mine
    assert prepared(PrefectSettings(), PREFECT_API_URL=theirs)["PREFECT_API_URL"] == theirs
    assert "PREFECT_API_URL" not in prepared(PrefectSettings())


def test_a_person_may_choose_the_retries() -> None:
    assert prepared(PrefectSettings(), PREFECT_CLIENT_MAX_RETRIES="7")["PREFECT_CLIENT_MAX_RETRIES"] == "7"
    assert prepared(PrefectSettings())["PREFECT_CLIENT_MAX_RETRIES"] == "2"
