"""Names of objects as catalogues and observers write them."""

from __future__ import annotations

__all__ = ["plain_name"]


def plain_name(name: str) -> str:
    """Return a name without case, blanks and signs: "HAT-P-32 b" and "hatp32b" are one."""
    return "".join(character for character in name.casefold() if character.isalnum())
