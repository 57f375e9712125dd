"""A night that cases of faults share: what went wrong in each, and the light curves in the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests.faults.site import Rows, Site

__all__ = ["DisturbedNight"]


@dataclass
class DisturbedNight:
    site: Site
    curves: Rows = field(default_factory=dict)
    faults: dict[str, BaseException | None] = field(default_factory=dict)

    def note(self, name: str, action: Callable[[], object]) -> None:
        """Let a case act; what goes wrong is its own and no other's."""
        try:
            action()
            self.faults[name] = None
        except (Exception, pytest.skip.Exception) as error:  # noqa: BLE001  # `check` raises it
            self.faults[name] = error

    def conclude(self) -> None:
        """Wait for all frames, stop the service, finish the night."""
        frames = self.site.frames("bias", "dark", "flat", "light")
        self.note("settling", lambda: self.site.wait_until_settled([path.name for path in frames]))
        self.note("stopping", self.site.stop)
        self.curves = self.site.finish()

    def check(self, name: str) -> None:
        """Raise what went wrong in a case."""
        fault = self.faults[name]
        if isinstance(fault, pytest.skip.Exception):
            raise fault
        assert fault is None, fault
