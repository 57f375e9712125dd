r"""File names as text, and back.

A name is bytes to the system, and need not be UTF-8: Python marks bytes that are not with lone surrogates,
which no database, log or web page takes. The ledger, and all paths that come from it, spell them as escapes
(``K\udcf6ln.fits``) instead; only where a file is opened or looked at is the name turned back.
"""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["as_named", "as_text"]

_AMBIGUOUS = re.compile(r"\\(?=udc[89a-f][0-9a-f]|x5c)")
"""A backslash of the name itself that would be read as an escape."""
_ESCAPE = re.compile(r"\\(?:udc([89a-f][0-9a-f])|x5c)")


def as_text(path: Path | str) -> str:
    """Return a path of the system as the ledger writes it; one that is UTF-8 is itself."""
    return _AMBIGUOUS.sub(r"\\x5c", str(path)).encode("utf-8", "backslashreplace").decode("utf-8")


def as_named(path: Path | str) -> Path:
    """Return the path of the system that `as_text` made this text of."""
    return Path(_ESCAPE.sub(lambda found: chr(0xDC00 + int(found[1], 16)) if found[1] else "\\", str(path)))
