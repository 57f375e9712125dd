"""One exposure from its file to a terminal state, without Prefect: the reducer's steps in a row."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from functools import partial
from typing import TypeVar

from nightflow.errors import RetryLater
from nightflow.instruments.header import FrameKind
from nightflow.pipeline.outcome import Outcome
from nightflow.pipeline.reducer import Reducer

__all__ = ["Products", "reduce_exposure"]

Products = Callable[[int], object]
"""What is done with a frame whose rows are in the store."""

_T = TypeVar("_T")
_TRIES = 3
_FIRST_PAUSE = 0.5


def reduce_exposure(
    reducer: Reducer,
    exposure_id: int,
    worker: str | None = None,
    *,
    only: Collection[int] | None = None,
    products: Products | None = None,
) -> Outcome:
    """Take one exposure from its file to a terminal state; no error gets out of here but a broken store's.

    Parameters
    ----------
    reducer : Reducer
    exposure_id : int
        Leased by the caller.
    worker : str, optional
        In whose name it is leased; see `Reducer.conclude`.
    only : collection of int, optional
        Rows of its frames; the others stay as they are.
    products : callable, optional
        What is done with a frame whose rows are in the store; else its products are written at once.
    """
    try:
        exposure = _patiently(partial(reducer.identify, exposure_id, only, worker))
    except Exception as error:  # noqa: BLE001 - a bug in one frame must not stop the night: it is recorded
        return _patiently(partial(reducer.conclude, exposure_id, error, worker))
    # A calibration is checked and settled by now: there is no more to do until a light needs its master.
    if exposure.kind == FrameKind.LIGHT:
        for frame_id in exposure.frame_ids:
            _reduce_frame(reducer, frame_id, products or reducer.products)
    return _patiently(partial(reducer.conclude, exposure_id, worker=worker))


def _reduce_frame(reducer: Reducer, frame_id: int, products: Products) -> None:
    try:
        for step in reducer.steps:
            _patiently(partial(reducer.perform, frame_id, step))
    except Exception as error:  # noqa: BLE001 - settle_frame records it: by consequence, or as a bug
        reducer.settle_frame(frame_id, error)
    else:
        reducer.settle_frame(frame_id)
        products(frame_id)


def _patiently(action: Callable[[], _T]) -> _T:
    """Try again, with growing pauses, while something outside is away."""
    for attempt in range(_TRIES - 1):
        try:
            return action()
        except RetryLater:
            time.sleep(_FIRST_PAUSE * 2**attempt)
    return action()
