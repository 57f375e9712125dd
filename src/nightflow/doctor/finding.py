"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Finding", "Level", "fault", "fine", "remark", "warning"]


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    NOTE = "note"
    """Optional, and not here."""
    WARNING = "warning"
    """The night goes on, with less."""
    FAULT = "fault"
    """Something will fail."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of `nightflow doctor`.

    Attributes
    ----------
    subject : str
        What was looked at.
    level : Level
    message : str
        What was found.
    mend : str
        What to do about it; "" where nothing is to be done.
    """

    subject: str
    level: Level
    message: str
    mend: str = ""


def fine(subject: str, message: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(subject=subject, level=Level.OK, message=message)


def remark(subject: str, message: str, mend: str = "") -> Finding:
    """Return a finding that something optional is absent."""
    return Finding(subject=subject, level=Level.NOTE, message=message, mend=mend)


def warning(subject: str, message: str, mend: str) -> Finding:
    """Return a finding that the night goes on with less."""
    return Finding(subject=subject, level=Level.WARNING, message=message, mend=mend)


def fault(subject: str, message: str, mend: str) -> Finding:
    """Return a finding that something will fail."""
    return Finding(subject=subject, level=Level.FAULT, message=message, mend=mend)
