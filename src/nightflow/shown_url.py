"""URLs as they may be shown: without their passwords."""

from __future__ import annotations

import re

__all__ = ["shown_url"]

_HIDDEN = "***"
_LOGIN = re.compile(r"^((?:[a-z][\w+.-]*:/{1,2})?+[^:/@]*):.*(?=@)", re.IGNORECASE | re.DOTALL)
"""Up to the last "@": a password that nobody escaped may hold one, and anything else."""
_NO_PORT = re.compile(r"^([a-z][\w+.-]*://[^:/@]*):(?!\d+(?:[/?]|$))[^/?]+", re.IGNORECASE)
"""A password whose "@" was forgotten stands where a port would."""
_PARAMETER = re.compile(r"([?&](?:\w*password|passwd|pwd|\w*token|\w*secret|\w*key)=)[^&]*", re.IGNORECASE)


def shown_url(url: str) -> str:
    """Return a URL for messages, logs and screens, with its password as ``***``.

    It is meant for what a person typed, so it takes what is no URL at all, and hides too much rather than
    too little of it.

    Parameters
    ----------
    url : str
        Of a database or a server.
    """
    if not url.lower().startswith("sqlite"):
        form = _LOGIN if "@" in url else _NO_PORT
        url = form.sub(rf"\1:{_HIDDEN}", url)
    return _PARAMETER.sub(rf"\1{_HIDDEN}", url)
