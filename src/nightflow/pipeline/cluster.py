"""The Dask cluster that backfills are reduced on, as far as the settings go."""

from __future__ import annotations

from importlib.util import find_spec

from sqlalchemy.engine import make_url

from nightflow.config import Settings
from nightflow.errors import ConfigurationError
from nightflow.shown_url import shown_url

__all__ = ["cluster_address"]


def cluster_address(settings: Settings) -> str:
    """Return where the scheduler of the cluster listens; empty where there is none.

    Raises
    ------
    ConfigurationError
        The extra `dask` is not installed, or the ledger is a file, which only this machine can write.
    """
    address = settings.prefect.dask_address
    if not address:
        return ""
    named = f"[prefect] dask_address = {address!r}"
    if find_spec("prefect_dask") is None:
        raise ConfigurationError(
            f"{named}: prefect-dask is not installed; `pip install 'nightflow[dask]'`, or leave the key empty"
        )
    if make_url(settings.store_url).get_backend_name() != "postgresql":
        raise ConfigurationError(
            f"{named}: several machines cannot share [store] url = {shown_url(settings.store.url)!r}; "
            "move to postgresql+psycopg://USER@HOST/DATABASE, or leave dask_address empty"
        )
    return address
