"""URLs, and text with URLs in it, as they may be shown: without their passwords."""

from __future__ import annotations

import re

__all__ = ["shown_text", "shown_url"]

_HIDDEN = "***"
_LOGIN = re.compile(r"^((?:[a-z][\w+.-]*:/{1,2})?+[^:/@]*):.*(?=@)", re.IGNORECASE | re.DOTALL)
"""Up to the last "@": a password that nobody escaped may hold one, and anything else."""
_NO_PORT = re.compile(r"^([a-z][\w+.-]*://[^:/@]*):(?!\d+(?:[/?]|$))[^/?]+", re.IGNORECASE)
"""A password whose "@" was forgotten stands where a port would."""
_SECRETS = r"([?&](?:\w*password|passwd|pwd|\w*token|\w*secret|\w*key)=)"
_PARAMETER = re.compile(_SECRETS + "[^&]*", re.IGNORECASE)
_LOGIN_IN_TEXT = re.compile(r"([a-z][\w+.-]*+://[^\s:/@]*+):\S*(?=@)", re.IGNORECASE)
"""Up to the last "@" of the word."""
_PARAMETER_IN_TEXT = re.compile(_SECRETS + r"[^&\s'\"]*", re.IGNORECASE)


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


def shown_text(text: str) -> str:
    """Return text that may quote URLs, such as what a client says of a request, with ``***`` for passwords.

    A password ends with the word that it stands in: programs quote URLs with blanks escaped.
    """
    if "://" not in text:
        return text
    return _PARAMETER_IN_TEXT.sub(rf"\1{_HIDDEN}", _LOGIN_IN_TEXT.sub(rf"\1:{_HIDDEN}", text))
