"""`doctor`: is everything here, and is a frame of this camera understood?"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from nightflow.commands.common import ConfigOption, ReportFormat, console, fail, print_json, printable
from nightflow.config import DEFAULT_FILE, load_settings
from nightflow.doctor.examine import examine
from nightflow.doctor.finding import Finding, Level
from nightflow.doctor.header_check import check_header
from nightflow.errors import ConfigurationError, NightflowError
from nightflow.instruments.profile import CameraProfile
from nightflow.instruments.registry import load_profiles

__all__ = ["doctor"]

_COLORS = {Level.OK: "green", Level.NOTE: "cyan", Level.WARNING: "yellow", Level.FAULT: "red"}
_INDENT = 10


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
    findings = []
    for finding in found:
        findings.append(finding)
        if output is ReportFormat.TABLE:
            _print(finding)
    if output is ReportFormat.JSON:
        print_json([{**vars(one), "level": str(one.level)} for one in findings])
    else:
        console.print(_summary(findings))
    if any(one.level is Level.FAULT for one in findings):
        raise typer.Exit(1)


def _print(finding: Finding) -> None:
    label = f"{finding.level:<{_INDENT}}"
    console.print(label, style=_COLORS[finding.level], end="", markup=False)
    console.print(printable(f"{finding.subject}: {finding.message}"), markup=False, soft_wrap=True)
    if finding.mend and finding.level is not Level.OK:
        console.print(printable(f"{'':<{_INDENT}}-> {finding.mend}"), markup=False, soft_wrap=True)


def _summary(findings: list[Finding]) -> str:
    faults = sum(one.level is Level.FAULT for one in findings)
    warnings = sum(one.level is Level.WARNING for one in findings)
    if not faults and not warnings:
        return "\nall is well"
    return f"\n{faults} faults, {warnings} warnings"


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
