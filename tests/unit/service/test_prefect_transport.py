"""A busy server is asked again at once."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from nightflow.service import prefect_transport
from nightflow.service.prefect_transport import PAUSES, PromptTransport


class Scripted(httpx.AsyncBaseTransport):
    """Answers with these status codes, one after the other."""

    def __init__(self, *codes: int) -> None:
        self.codes = list(codes)
        self.closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(self.codes.pop(0), request=request)

    async def aclose(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(prefect_transport.asyncio, "sleep", sleep)
    return slept


def ask(transport: Scripted) -> int:
    async def main() -> int:
        async with httpx.AsyncClient(transport=PromptTransport(transport)) as client:
            return (await client.post("http://server/api")).status_code

    return asyncio.run(main())


@pytest.mark.parametrize("busy", [0, 1, 3, len(PAUSES)])
def test_it_asks_until_the_server_has_time(busy: int, no_waiting: list[float]) -> None:
    assert ask(Scripted(*[503] * busy, 201)) == 201
    assert len(no_waiting) == busy


def test_pauses_stay_within_half_of_what_is_said(no_waiting: list[float]) -> None:
    ask(Scripted(*[503] * len(PAUSES), 201))
    for slept, pause in zip(no_waiting, PAUSES, strict=True):
        assert 0.5 * pause <= slept <= 1.5 * pause


def test_a_server_that_stays_busy_is_reported_as_busy() -> None:
    assert ask(Scripted(*[503] * (len(PAUSES) + 1), 201)) == 503


@pytest.mark.parametrize("code", [200, 404, 422, 500])
def test_other_answers_are_taken_as_they_are(code: int) -> None:
    assert ask(Scripted(code, 200)) == code


def test_closing_closes_the_connections() -> None:
    inner = Scripted(200)
    ask(inner)
    assert inner.closed
