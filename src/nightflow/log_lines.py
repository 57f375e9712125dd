"""Lines of a log: a record is one line, whatever stands in it, and no line holds a password.

File names, headers and what other programs say get into messages. A line break or an escape sequence in them
would make lines that nobody wrote, or steer the terminal that shows them.
"""

from __future__ import annotations

import logging
from types import TracebackType

from nightflow.printable import printable
from nightflow.shown_url import shown_text

__all__ = ["LINE", "LogLines"]

LINE = "%(asctime)s %(levelname)s %(message)s"
"""The form of a line of `nightflow watch`."""
_INDENT = "  "
"""Before each line of a traceback: what an error says cannot begin a line of the log."""


class LogLines(logging.Formatter):
    """Formats records as single lines, with what is not printable as escapes; a traceback has lines below."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # as logging calls it
        """Return the record's line."""
        return printable(shown_text(super().formatMessage(record)))

    def formatException(  # noqa: N802  # as logging calls it
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
    ) -> str:
        """Return the lines of a traceback, indented."""
        return _indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802  # as logging calls it
        """Return the lines of a stack, indented."""
        return _indented(super().formatStack(stack_info))


def _indented(text: str) -> str:
    return "\n".join(_INDENT + printable(line) for line in shown_text(text).splitlines())
