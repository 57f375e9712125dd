"""Where files land, and how they are looked at."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import wait
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nightflow.sensor.answers import asked
from nightflow.sensor.silent import is_silent
from nightflow.sensor.stability import MOMENT_SECONDS

__all__ = ["Places", "real_folders"]

MINIMUM_PATIENCE_SECONDS = 10.0
PATIENCE_IN_SETTLE_TIMES = 10.0
POLLED_MOMENT_SECONDS = 3.0
"""What a network disk says of a file that has just changed may be so old (nfs(5), acregmin)."""
ANSWER_SECONDS = 2.0
"""How long a disk may take to say where a folder is."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where files land, and how they are looked at.

    Attributes
    ----------
    folders : tuple of Path
        Where files land; absolute.
    excluded : tuple of Path
        Folders inside them that hold no raw frames.
    settle_seconds, sweep_seconds, polling, poll_seconds
        See `nightflow.config.WatchSettings`.
    max_pixels : int, optional
        Of one image; what claims more is not unpacked to learn its length.
    """

    folders: tuple[Path, ...]
    excluded: tuple[Path, ...] = ()
    settle_seconds: float = 1.0
    sweep_seconds: float = 30.0
    polling: Literal["auto", "always", "never"] = "auto"
    poll_seconds: float = 2.0
    max_pixels: int | None = None

    @property
    def patience_seconds(self) -> float:
        """How long a file may stay short, or unreadable, before that is taken for its last word."""
        return max(PATIENCE_IN_SETTLE_TIMES * self.settle_seconds, MINIMUM_PATIENCE_SECONDS)

    def moment_seconds(self, *, polled: bool) -> float:
        """Return how long a whole file must be at rest that nobody reported closed."""
        if polled:
            return max(self.settle_seconds, POLLED_MOMENT_SECONDS)
        return min(self.settle_seconds, MOMENT_SECONDS)

    def hold(self, path: Path) -> bool:
        """Return whether a file lies in one of the folders."""
        return any(path.is_relative_to(folder) for folder in self.folders)

    def is_polled(self, folder: Path) -> bool:
        """Return whether no events come from a folder, as things are now."""
        return self.polling == "always" or (self.polling == "auto" and is_silent(folder))


def real_folders(folders: Iterable[Path]) -> list[Path]:
    """Return where folders are, links followed; as it was named, one whose disk does not answer."""
    named = list(folders)
    answers = [asked(folder.resolve) for folder in named]
    wait(answers, ANSWER_SECONDS)
    return [
        answer.result() if answer.done() else folder.absolute()
        for folder, answer in zip(named, answers, strict=True)
    ]
