"""Asking what may never answer: a disk whose server is gone holds for ever whoever looks at it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

__all__ = ["answer_within"]

T = TypeVar("T")


def answer_within(seconds: float, look: Callable[[], T]) -> T:
    """Look in a thread of its own, which is left behind where it gets no answer.

    Raises
    ------
    TimeoutError
        There is no answer.
    Exception
        What looking has raised.
    """
    answer: Future[T] = Future()

    def ask() -> None:
        try:
            answer.set_result(look())
        except BaseException as error:  # noqa: BLE001  # raised again in the caller's thread
            answer.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    return answer.result(seconds)
