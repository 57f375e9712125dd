"""What a live service does from time to time: alarms, and what no arrival brings about."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from functools import partial

from nightflow.errors import NightflowError
from nightflow.pipeline.held import HeldAgain
from nightflow.pipeline.reducer import Reducer
from nightflow.pipeline.run_lease import free_dead_runs
from nightflow.pipeline.touched import BetterMasters
from nightflow.service.alarms import Alarms
from nightflow.service.background import Chore
from nightflow.service.notify import Notifier
from nightflow.store.database import Database

__all__ = ["frames_again", "messages"]

log = logging.getLogger(__name__)


def messages(alarms: Alarms, notifier: Notifier, reducer: Reducer) -> Sequence[Chore]:
    """Return what tells a person; it looks at no raw frame, whose disk may be what is to be told of."""
    alarms.use(reducer.settings)
    notifier.use(reducer.settings.notify)
    return [alarms.look, lambda _: notifier.catch_up()]


def frames_again(ended: list[int], reducer: Reducer) -> Sequence[Chore]:
    """Return what takes frames up again; it may read raw frames, and build masters of them.

    Parameters
    ----------
    ended : list of int
        Exposures whose end may have had no consequences yet; those that have had them are taken out.
    reducer : Reducer
    """
    return [
        partial(_follow_up, reducer, ended),
        partial(_queue_of_dead_runs, reducer.database),
        BetterMasters(reducer.context).queue,
        HeldAgain(reducer).queue,
    ]


def _follow_up(reducer: Reducer, ended: list[int], _now: datetime) -> None:
    """Do what follows from exposures that have ended, each once; one that is at fault holds up no other."""
    for exposure_id in list(ended):
        ended.remove(exposure_id)
        try:
            reducer.follow_up(exposure_id)
        except NightflowError:
            ended.append(exposure_id)
            raise
        except Exception:  # the others go on
            log.exception("exposure %d: what follows from its end is left undone", exposure_id)


def _queue_of_dead_runs(database: Database, now: datetime) -> None:
    if freed := free_dead_runs(database, now).queued:
        log.info("%d exposures were left by a run or backfill that died; queued again", len(freed))
