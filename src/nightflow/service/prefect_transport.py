"""The line to the server: a busy one is asked again at once, an absent one told from a fault of ours.

Prefect's server on SQLite answers 503 when two of its own transactions collide, which is over within
milliseconds; its client then waits two seconds and more, on the path of a live frame. This transport sits
below the client and asks again sooner. The server has undone what it began, so that a second asking is safe.
"""

from __future__ import annotations

import asyncio
import random
from typing import Self

import httpx

from nightflow.shown_url import shown_text

__all__ = ["PromptTransport", "is_away", "one_line"]

PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds before each further try, give or take a half, so that two workers do not march in step."""

_TRANSPORT = (httpx.TransportError, TimeoutError, ConnectionError)
"""What the client raises when the server is absent or hangs."""


class PromptTransport(httpx.AsyncBaseTransport):
    """Sends requests; repeats those that a busy server could not serve.

    Parameters
    ----------
    inner : httpx.AsyncBaseTransport
        Does the sending.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    @classmethod
    def to(cls, url: str) -> Self:
        """Return a transport to a server; certificates take 20 ms to load, so only where they are used."""
        return cls(httpx.AsyncHTTPTransport(verify=not url.startswith("http://")))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the first answer that is not 503, or the last one."""
        for pause in PAUSES:
            response = await self._inner.handle_async_request(request)
            if response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                return response
            await response.aclose()
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


def is_away(error: BaseException) -> bool:
    """Return whether an error says that the server is absent, starting, or cannot answer.

    The client wraps what happened on the line, a RuntimeError that was raised from a refused connection. What
    the server answered with a status below 500, and what has no such cause, is a fault of ours.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, httpx.HTTPStatusError):
            return cause.response.is_server_error
        if isinstance(cause, _TRANSPORT):
            return True
        cause = cause.__cause__
    return False


def one_line(error: BaseException) -> str:
    """Return an error's kind and the first line of what it says."""
    lines = shown_text(str(error)).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
