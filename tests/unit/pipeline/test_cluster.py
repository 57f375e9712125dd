"""The Dask cluster of the settings: empty, usable, or refused with what to do about it."""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

import nightflow.pipeline.cluster as cluster_module
from nightflow.config import PrefectSettings, Settings, StoreSettings
from nightflow.errors import ConfigurationError
from nightflow.pipeline.cluster import cluster_address

ADDRESS = "tcp://10.0.0.5:8786"
POSTGRES = "postgresql+psycopg://me:secret@db/nightflow"


def settings(address: str, store: str) -> Settings:
    return Settings(
        root=Path("/obs"), store=StoreSettings(url=store), prefect=PrefectSettings(dask_address=address)
    )


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "find_spec", lambda name: ModuleSpec(name, None))


def test_by_default_there_is_none_whatever_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "find_spec", lambda name: None)
    assert Settings().prefect.dask_address == ""
    assert cluster_address(Settings()) == ""


@pytest.mark.usefixtures("installed")
def test_with_postgres_it_is_the_one_of_the_settings() -> None:
    assert cluster_address(settings(ADDRESS, POSTGRES)) == ADDRESS


@pytest.mark.usefixtures("installed")
def test_a_ledger_in_a_file_is_refused() -> None:
    with pytest.raises(ConfigurationError) as refused:
        cluster_address(settings(ADDRESS, "sqlite:///nightflow.sqlite"))
    for said in (ADDRESS, "dask_address", "'sqlite:///nightflow.sqlite'", "postgresql+psycopg://"):
        assert said in str(refused.value)


def test_without_the_extra_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "find_spec", lambda name: None)
    with pytest.raises(
        ConfigurationError, match=r"dask_address = 'tcp://10\.0\.0\.5:8786'.*nightflow\[dask\]"
    ):
        cluster_address(settings(ADDRESS, POSTGRES))
