"""`doctor`: is everything here, and is a frame of this camera understood?"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from nightflow.commands.common import ConfigOption, ReportFormat, fail, print_findings
from nightflow.config import DEFAULT_FILE, load_settings
from nightflow.doctor.examine import examine
from nightflow.doctor.finding import Finding
from nightflow.doctor.header_check import check_header
from nightflow.errors import ConfigurationError, NightflowError
from nightflow.instruments.profile import CameraProfile
from nightflow.instruments.registry import load_profiles

__all__ = ["doctor"]


def doctor(
    file: Annotated[
        Path | None, typer.Argument(help="A raw frame: say what is understood of its header instead.")
    ] = None,
    config: ConfigOption = None,
    output: Annotated[ReportFormat, typer.Option("--format", help="How to print.")] = ReportFormat.TABLE,
) -> None:
    """Check everything that a night needs, and say the mend; exits with 1 on a fault."""
    found: Iterable[Finding]
    if file is None:
        found = examine(config, datetime.now(UTC))
    else:
        found = check_header(file, _profiles(config)).findings
    if print_findings(found, output):
        raise typer.Exit(1)


def _profiles(config: Path | None) -> list[CameraProfile]:
    """Return the profiles of the settings; those that come with nightflow where there are no settings."""
    try:
        settings = load_settings(config)
    except ConfigurationError as error:
        if config is not None or Path(DEFAULT_FILE).exists():
            fail(str(error))
        return load_profiles()
    try:
        return load_profiles(settings.resolve(settings.paths.cameras))
    except NightflowError as error:
        fail(str(error))
