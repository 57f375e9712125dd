"""SIGTERM and SIGHUP as an exit: whoever ends a command ends what it has started, too."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from nightflow.signal_handlers import signal_handlers

__all__ = ["exit_on_signals"]

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def exit_on_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP exit with 128 and their number; a decorator for commands, too.

    An exit runs the blocks that end programs, remove folders and give back leases. A signal that is ignored
    already, as SIGHUP under nohup, stays so.
    """
    handled = (number for number in _SIGNALS if signal.getsignal(number) is signal.SIG_DFL)
    with signal_handlers(dict.fromkeys(handled, _exit)):
        yield


def _exit(number: int, _frame: object) -> None:
    sys.exit(128 + number)
