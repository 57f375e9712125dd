"""Fetch the reference stars around the targets."""

from __future__ import annotations

import asyncio
from typing import Any

from prefect import task

from tasks.context import current_reducer
from tasks.options import STEP

__all__ = ["prefetch_catalog"]


@task(name="prefetch-catalog", **STEP)
async def prefetch_catalog(service: str, radius: float, limit_mag: float | None) -> list[dict[str, Any]]:
    """Fetch what the catalogue of a service lacks around all targets.

    Returns
    -------
    list of dict
        One row a target; see `nightflow.pipeline.prefetch.prefetch`.

    Raises
    ------
    RetryLater
        The store is locked.
    ConfigurationError
        There is no such service, or the radius cannot be meant.
    """
    from nightflow.catalogs.services import service_called
    from nightflow.pipeline.prefetch import prefetch

    reducer, chosen = current_reducer(), service_called(service)
    return await asyncio.to_thread(
        prefetch,
        reducer.database,
        reducer.context.catalogs.folder,
        chosen,
        name=chosen.key,
        radius=radius,
        limit_mag=limit_mag,
        now=reducer.context.clock(),
    )
