"""Ask a busy server again at once, not after seconds.

Prefect's server on SQLite answers 503 when two of its own transactions collide, which is over within
milliseconds; its client then waits two seconds and more, on the path of a live frame. This transport sits
below the client and asks again sooner. The server has undone what it began, so that a second asking is safe.
"""

from __future__ import annotations

import asyncio
import random
from typing import Self

import httpx

__all__ = ["PromptTransport"]

PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds before each further try, give or take a half, so that two workers do not march in step."""


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
