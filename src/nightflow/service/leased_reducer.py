"""The reducer of the live service when it reduces without a server: only the holder of a lease may settle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nightflow.pipeline.reducer import Outcome

__all__ = ["LeasedReducer"]


class LeasedReducer:
    """A reducer that settles exposures in a worker's name, for `nightflow.pipeline.reducer.reduce_exposure`.

    Parameters
    ----------
    reducer : Reducer
        Does all the rest.
    worker : str
        Who must hold an exposure still when it is concluded; else the outcome is "lost" and the ledger stays
        as it is.
    """

    def __init__(self, reducer: Any, worker: str) -> None:
        self._reducer = reducer
        self._worker = worker

    def conclude(self, exposure_id: int, error: BaseException | None = None) -> Outcome:
        """Settle an exposure; see `nightflow.pipeline.reducer.Reducer.conclude`."""
        outcome: Outcome = self._reducer.conclude(exposure_id, error, worker=self._worker)
        return outcome

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reducer, name)
