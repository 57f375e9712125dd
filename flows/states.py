"""How an exposure's state in the ledger is shown in Prefect.

Only a fault of ours is red. A frame that is unusable or waits for its flat has been dealt with: its run is
completed, and name and message say how it ended and why.
"""

from __future__ import annotations

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

__all__ = ["run_state"]

MESSAGE_CHARACTERS = 2000


def run_state(state: str, reason: str = "", seconds: float | None = None) -> State[None]:
    """Return the final state of a run from how its exposure ended.

    Parameters
    ----------
    state : str
        done, held, rejected, failed or duplicate; busy where another process has the exposure, lost where it
        was taken over while it was reduced here.
    reason : str
        From the ledger.
    seconds : float, optional
        How long the reduction took.
    """
    took = "" if seconds is None else f"in {seconds:.2f} s"
    message = "; ".join(part for part in (reason[:MESSAGE_CHARACTERS], took) if part)
    if state == "failed":
        return Failed(message=message)
    return Completed(name="Completed" if state == "done" else state.capitalize(), message=message)
