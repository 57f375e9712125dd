"""The settings: are they there, are they right, and who is told of what goes wrong?"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from nightflow.config import Settings
from nightflow.doctor.finding import Finding, fault, remark
from nightflow.errors import ConfigurationError

__all__ = ["check_telling", "wrong_settings"]


def wrong_settings(error: ConfigurationError, file: Path) -> Finding:
    """Return the fault of settings that are not there, or wrong, with the line or the keys to mend."""
    return fault("settings", str(error), _mend(error.__cause__, file))


def check_telling(settings: Settings) -> Iterator[Finding]:
    """Say what is not told, and to nobody, without the optional `[site]` and `[notify]`."""
    if settings.site is None:
        yield remark(
            "site",
            "no [site]: when it is night is not known, so that nights without frames are not told, and the "
            "deployment end-of-night has no schedule",
            "latitude and longitude (degrees, east positive) and height (m) under [site] in nightflow.toml",
        )
    if not settings.notify.names_somebody:
        yield remark(
            "notify",
            "[notify] names nobody: failures are told in the log alone",
            'command = ["/path/program"] under [notify] in nightflow.toml, or NIGHTFLOW_NOTIFY__WEBHOOK; '
            "then try `nightflow notify`",
        )


def _mend(cause: BaseException | None, file: Path) -> str:
    if isinstance(cause, ValidationError):
        places = dict.fromkeys(_place([str(part) for part in one["loc"]], file) for one in cause.errors())
        return f"mend {', '.join(places)}"
    if isinstance(cause, tomllib.TOMLDecodeError):
        line = re.search(r"\bline (\d+)", str(cause))
        return f"mend line {line[1]} of {file}" if line else f"mend the end of {file}"
    if file.exists():
        return f"mend {file}, or its rights: it is a file of text in UTF-8"
    return "`nightflow init DIR`, then export NIGHTFLOW_CONFIG=DIR/nightflow.toml"


def _place(location: list[str], file: Path) -> str:
    """Return where a key that is wrong stands: the environment wins over the file."""
    if not location:
        return str(file)
    variable = "__".join(("nightflow_" + location[0], *location[1:])).upper()
    return f"{variable} in the environment" if variable in os.environ else f"{'.'.join(location)} in {file}"
