"""The settings: are they there, are they right, and who is told of what goes wrong?"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import SettingsError

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
    if isinstance(cause, SettingsError):
        return """write what is a list or a table as JSON, such as NIGHTFLOW_WATCH__FOLDERS='["/data"]'"""
    if isinstance(cause, tomllib.TOMLDecodeError):
        line = re.search(r"\bline (\d+)", str(cause))
        return f"mend line {line[1]} of {file}" if line else f"mend the end of {file}"
    if _may_be_there(file):
        return f"mend {file}, or its rights: it is a file of text in UTF-8"
    return "`nightflow init DIR`, then export NIGHTFLOW_CONFIG=DIR/nightflow.toml"


def _may_be_there(file: Path) -> bool:
    try:
        return file.exists()
    except OSError:
        return True  # nobody may look: its folder cannot be searched


def _place(location: list[str], file: Path) -> str:
    """Return where a key that is wrong stands: the environment wins over the file."""
    variable = _variable(location)
    if variable:
        return f"{variable} in the environment"
    return f"{'.'.join(location)} in {file}" if location else str(file)


def _variable(location: Sequence[str]) -> str:
    """Return the variable of the environment that sets a key, as it is spelt there; "" where none does."""
    variables = {name.upper(): name for name in os.environ}
    for length in range(len(location), 0, -1):
        # That of the key, else that of what it is a part of: NIGHTFLOW_SITE may hold site.latitude, as JSON.
        name = variables.get("__".join(("nightflow_" + location[0], *location[1:length])).upper())
        if name is not None and _sets(os.environ[name], location[length:]):
            return name
    return ""


def _sets(text: str, rest: Sequence[str]) -> bool:
    """Return whether the value of a variable holds what is at a place in it."""
    try:
        value: Any = json.loads(text)
    except ValueError:
        return True  # a text, as a whole
    for part in rest:
        if not isinstance(value, dict):
            return True  # a list and its items come from one place
        if part not in value:
            return False
        value = value[part]
    return True
