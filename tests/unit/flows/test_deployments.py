"""deployments/: that Prefect can read it, and that what it names exists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import prefect
import pytest
import yaml
from prefect.cli.deploy._models import PrefectYamlModel
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema

from nightflow.config import Settings, load_settings
from nightflow.service.prefect_runs import INGEST, LIVE

DEPLOYMENTS = Path(__file__).resolve().parents[3] / "deployments"


def configurations() -> list[dict[str, Any]]:
    """Return the deployments as Prefect's own command reads them; it raises where they are wrong."""
    model = PrefectYamlModel.model_validate(yaml.safe_load((DEPLOYMENTS / "prefect.yaml").read_text()))
    return [one.model_dump() for one in model.deployments]


def test_prefect_reads_the_deployments() -> None:
    names = {f"{one['flow_name']}/{one['name']}" for one in configurations()}
    assert names == {
        f"ingest-exposure/{LIVE}", "build-masters/masters", "backfill/backfill", "prefetch/prefetch",
        "maintenance/maintenance", "backfill-share/share", "end-of-night/end-of-night", "tell/tell",
    }  # fmt: skip


def test_the_prefetch_has_a_schedule() -> None:
    [prefetch] = [one for one in configurations() if one["name"] == "prefetch"]
    assert [one["cron"] for one in prefetch["schedules"]] == ["0 12 * * *"]


@pytest.mark.parametrize("configuration", configurations(), ids=lambda one: one["name"])
def test_each_entry_point_is_the_flow_it_says(configuration: dict[str, Any]) -> None:
    flow = load_flow_from_entrypoint(configuration["entrypoint"], use_placeholder_flow=False)
    assert flow.name == configuration["flow_name"]
    assert set(configuration["parameters"]) <= set(flow.parameters.properties)
    assert configuration["description"]
    assert "nightflow" in configuration["tags"]


@pytest.mark.parametrize("configuration", configurations(), ids=lambda one: one["name"])
def test_each_field_of_a_form_says_what_it_means(configuration: dict[str, Any]) -> None:
    if configuration["name"] in (LIVE, "share"):
        pytest.skip("started by the service or a backfill, not by people")
    flow = load_flow_from_entrypoint(configuration["entrypoint"], use_placeholder_flow=False)
    fields = parameter_schema(flow).model_dump_for_openapi()["properties"]
    assert fields
    for name, field in fields.items():
        assert len(field.get("description", "")) > 10, name


def test_the_live_deployment_is_the_one_that_the_service_makes() -> None:
    [live] = [one for one in configurations() if one["name"] == LIVE]
    assert live["entrypoint"] == INGEST
    assert not live.get("concurrency_limit"), "a limit makes a live run wait half a minute"


def test_the_version_is_the_one_installed() -> None:
    text = (DEPLOYMENTS / "prefect.yaml").read_text()
    assert f"prefect-version: {prefect.__version__}" in text


def test_the_example_settings_hold_every_key_at_its_default_but_server_and_site() -> None:
    example = load_settings(DEPLOYMENTS / "example-nightflow.toml")
    plain = Settings(root=DEPLOYMENTS)
    own: Any = {"prefect": {"api_url"}, "site": True, "file_name": True}
    assert example.model_dump(exclude=own) == plain.model_dump(exclude=own)
    assert example.site is not None
    text = (DEPLOYMENTS / "example-nightflow.toml").read_text()
    for section in ("store", "paths", "run", "watch", "prefect"):
        for key in type(getattr(plain, section)).model_fields:
            assert f"\n{key} = " in text, f"{section}.{key} is not shown"
