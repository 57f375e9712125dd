"""Text that is anybody's, such as a file's name, as it may be shown on a terminal or in a log."""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: str) -> str:
    """Return text in one line, with what would steer a terminal as escapes: a name is anybody's text."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )
