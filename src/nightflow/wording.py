"""Words of messages that depend on a number."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["counted", "first_few"]


def counted(number: int, noun: str) -> str:
    """Return a number of things: "1 exposure", "2 exposures"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def first_few(names: Sequence[str], most: int, between: str = ", ") -> str:
    """Return the first names and how many there are beside them: "a, b, and 3 more"."""
    more = [f"and {len(names) - most} more"] if len(names) > most else []
    return between.join([*names[:most], *more])
