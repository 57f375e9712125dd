"""What is taken for a call that was cancelled is given back."""

from __future__ import annotations

import asyncio
import threading

import pytest

from nightflow.service.process import taken_in_thread


def test_what_is_taken_is_returned() -> None:
    given_back: list[int] = []
    assert asyncio.run(taken_in_thread(lambda: 7, given_back.append)) == 7
    assert asyncio.run(taken_in_thread(lambda: None, given_back.append)) is None
    assert given_back == []


@pytest.mark.parametrize("found", [7, None])
def test_a_call_that_is_cancelled_leaves_nothing_taken(found: int | None) -> None:
    begun, go_on = threading.Event(), threading.Event()
    given_back: list[int] = []

    def take() -> int | None:
        begun.set()
        assert go_on.wait(10)
        return found

    async def cancelled() -> None:
        call = asyncio.create_task(taken_in_thread(take, given_back.append))
        assert await asyncio.to_thread(begun.wait, 10)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        go_on.set()

    asyncio.run(cancelled())  # which waits for its threads
    assert given_back == ([] if found is None else [found])


def test_a_cancel_that_comes_with_the_answer_gives_it_back() -> None:
    taken = threading.Event()
    given_back: list[int] = []

    def take() -> int:
        taken.set()
        return 7

    async def cancelled() -> None:
        call = asyncio.create_task(taken_in_thread(take, given_back.append))
        await asyncio.sleep(0)
        assert taken.wait(10)  # nothing else goes on in this thread meanwhile
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(cancelled())
    assert given_back == [7]
