"""What all sections of a camera profile have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["SettingsModel"]


class SettingsModel(BaseModel):
    """A section that knows its keys: an unknown one raises. It does not change once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)
