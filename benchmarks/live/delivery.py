"""Frames that land at a set cadence: a few are simulated, and each that lands has a time of its own.

A file is written under a temporary name and renamed when it is whole, as cameras' programs and rsync do; the
moment of the renaming is when it is *closed*. Nothing is computed while the clock runs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from astropy.time import Time, TimeDelta

from benchmarks.scale import STANDARD, Scale
from benchmarks.workshop import Workshop, night_plan
from nightflow.simulate.plan import NightPlan

__all__ = ["CALIBRATIONS", "Delivery", "Template", "live_plan", "live_scale", "templates"]

CALIBRATIONS = {"bias": 5, "dark": 3, "flat": 3}
N_TEMPLATES = 4
_EXPTIME = 1.0
"""Seconds: one frame a second can be a real one."""
_CARD = b"DATE-OBS= '"
_ISOT = len("2025-10-24T01:02:03.456")


def live_scale(side: int) -> Scale:
    """Return the sizes of a night whose frames have this side."""
    return replace(STANDARD, name=f"live_{side}", side=side, detector_side=side, n_bias=CALIBRATIONS["bias"])


def live_plan(scale: Scale) -> NightPlan:
    """Return a night with as many electrons a frame as that of the other benchmarks, in one second."""
    plan = night_plan(scale)
    faster = plan.exptime / _EXPTIME
    gain = 2.5 * math.log10(faster)
    passbands = {
        name: replace(band, zero_point=band.zero_point + gain) for name, band in plan.passbands.items()
    }
    return replace(
        plan,
        n_lights=N_TEMPLATES,
        exptime=_EXPTIME,
        passbands=passbands,
        camera=replace(
            plan.camera,
            cosmic_rate=plan.camera.cosmic_rate * faster,
            dark_rate=plan.camera.dark_rate * faster,
        ),
        # Of a mirror that gathers so much, or its stars would twinkle too much in so short a time.
        telescope=replace(plan.telescope, aperture=plan.telescope.aperture * math.sqrt(faster)),
    )


@dataclass(frozen=True)
class Template:
    """A file of which any number of copies can be made, each with a time of its own.

    Attributes
    ----------
    content : bytes
        Of the FITS file.
    """

    content: bytes

    @property
    def time(self) -> Time:
        """DATE-OBS as it was simulated."""
        place = self._place
        return Time(self.content[place : place + _ISOT].decode(), format="isot", scale="utc", precision=3)

    @property
    def _place(self) -> int:
        return self.content.index(_CARD) + len(_CARD)

    def write(self, path: Path, time: Time) -> None:
        """Write a copy that was taken at another time, and so has other content."""
        place = self._place
        with path.open("wb") as stream:
            stream.write(self.content[:place])
            stream.write(time.isot.encode())
            stream.write(memoryview(self.content)[place + _ISOT :])


def templates(workshop: Workshop) -> list[Template]:
    """Return the distinct light frames of a night."""
    return [Template(path.read_bytes()) for path in workshop.files("light", N_TEMPLATES)]


class Delivery:
    """Lets frames land in a folder.

    Parameters
    ----------
    templates : sequence of Template
        Delivered in turn.
    folder : Path
        Watched.
    spacing : float
        Seconds between the times of two frames, as their headers say.
    """

    def __init__(self, templates: Sequence[Template], folder: Path, spacing: float) -> None:
        self._templates = templates
        self._folder = folder
        self._spacing = TimeDelta(max(spacing, _EXPTIME), format="sec")
        self._next = 0

    def land(self, name: str, cadence: float, another: Callable[[int], bool]) -> dict[str, float]:
        """Let frames land; return when each was closed, seconds since 1970, by the names of the files.

        Parameters
        ----------
        name : str
            How their names begin.
        cadence : float
            Seconds from one to the next.
        another : callable
            Asked with the number of those that have landed whether one more shall.
        """
        closed: dict[str, float] = {}
        began = time.monotonic()
        while another(len(closed)):
            time.sleep(max(0.0, began + len(closed) * cadence - time.monotonic()))
            path = self._folder / f"{name}-{len(closed):04d}.fits"
            partial = path.with_name(f".{path.name}.part")
            self._write(partial)
            closed[path.name] = time.time()
            partial.replace(path)
        return closed

    def stock(self, folder: Path, count: int) -> None:
        """Write frames of an hour before into a folder that nobody watches."""
        folder.mkdir(parents=True)
        first = self._templates[0].time - TimeDelta(3600.0, format="sec")
        for number in range(count):
            template = self._templates[number % len(self._templates)]
            template.write(folder / f"old-{number:04d}.fits", first + number * TimeDelta(1.0, format="sec"))

    def _write(self, path: Path) -> None:
        template = self._templates[self._next % len(self._templates)]
        template.write(path, self._templates[0].time + self._next * self._spacing)
        self._next += 1
