"""Which nightflow this is: its version, and the fingerprint of its code."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from nightflow import __version__

__all__ = ["SOFTWARE", "software_fingerprint"]

SOFTWARE = f"nightflow {__version__}"


@cache
def software_fingerprint() -> str:
    """Return the SHA-256 over the package's code and camera profiles.

    A version number says what was released; a mended line in a checkout changes results all the same, and an
    unchanged night must then be reduced again.
    """
    digest = hashlib.sha256(SOFTWARE.encode())
    root = Path(__file__).parent
    for file in sorted(path for path in root.rglob("*") if path.suffix in (".py", ".toml")):
        digest.update(str(file.relative_to(root)).encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()
