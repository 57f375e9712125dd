"""All checks in a row; settings first, for without them there is nothing to look at."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from nightflow.config import load_settings, settings_file
from nightflow.doctor.cameras import check_cameras
from nightflow.doctor.finding import Finding, fine
from nightflow.doctor.kernels import check_kernels
from nightflow.doctor.packages import check_packages
from nightflow.doctor.services import check_cluster, check_prefect, check_programs
from nightflow.doctor.settings_check import check_telling, wrong_settings
from nightflow.doctor.sky import check_catalogs, check_index_files, check_solver
from nightflow.doctor.storage import check_disk, check_folders, check_store
from nightflow.doctor.timekeeping import check_clock, check_tables
from nightflow.errors import ConfigurationError

__all__ = ["examine"]


def examine(config: Path | None, now: datetime) -> Iterator[Finding]:
    """Look at everything that a night needs; one finding a line.

    Parameters
    ----------
    config : Path, optional
        As for `nightflow.config.load_settings`.
    now : datetime
        Aware.
    """
    yield from check_packages()
    yield from check_kernels()
    yield from check_clock(now)
    yield from check_tables(now)
    try:
        settings = load_settings(config)
    except ConfigurationError as error:
        yield wrong_settings(error, settings_file(config))
        return
    yield fine("settings", f"folder {settings.root}")
    yield from check_telling(settings)
    yield from check_store(settings)
    yield from check_folders(settings)
    yield from check_disk(settings)
    yield from check_cameras(settings)
    yield from check_catalogs(settings)
    yield from check_index_files(settings)
    yield from check_solver()
    yield from check_prefect(settings)
    yield from check_cluster(settings)
    yield from check_programs()
