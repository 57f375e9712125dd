"""A night of a camera with several chips: one file an exposure, one truth a chip.

Layout of the folder, beside ``raw`` and ``catalog.csv`` as of `nightflow.simulate.write`::

    CHIP/truth.json ...      the truth about each chip, as of a camera that has no other
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from astropy.io import fits

from nightflow.errors import ConfigurationError
from nightflow.simulate.night import SimulatedFrame, render_frame
from nightflow.simulate.plan import NightPlan, chip_plans
from nightflow.simulate.prepare import Night, field_catalog, night_truth, prepare_night
from nightflow.simulate.truth import NightTruth
from nightflow.simulate.write import RAW_FOLDER, write_catalog, write_hdus, write_truth

__all__ = ["MosaicExposure", "prepare_mosaic", "simulate_mosaic", "write_mosaic"]


@dataclass(frozen=True)
class MosaicExposure:
    """One opening of the shutter, seen by all chips.

    Attributes
    ----------
    frames : tuple of SimulatedFrame
        One a chip, in the order of the plan.
    """

    frames: tuple[SimulatedFrame, ...]

    @property
    def name(self) -> str:
        """File name."""
        return self.frames[0].name

    def hdus(self) -> fits.HDUList:
        """Return the file: the exposure's header, and an extension for each amplifier of each chip."""
        extensions = [readout.hdu() for frame in self.frames for readout in frame.readouts]
        return fits.HDUList([fits.PrimaryHDU(header=self.frames[0].header), *extensions])


def prepare_mosaic(plan: NightPlan) -> list[Night]:
    """Settle the course of a night for each chip.

    Raises
    ------
    ConfigurationError
        The plan has no mosaic, two of its chips share a name, or the field cannot be observed on that date.
    """
    names = [camera.name for camera in plan.mosaic]
    if not names or len(set(names)) < len(names):
        raise ConfigurationError(f"mosaic: needs chips with names of their own, got {names}")
    return [prepare_night(one) for one in chip_plans(plan)]


def simulate_mosaic(nights: Sequence[Night]) -> Iterator[MosaicExposure]:
    """Yield the exposures of `prepare_mosaic` in order of time; the same plan gives the same pixels."""
    for scheduled in nights[0].schedule:
        yield MosaicExposure(tuple(render_frame(night, scheduled) for night in nights))


def write_mosaic(plan: NightPlan, folder: Path) -> dict[str, NightTruth]:
    """Simulate a night of a mosaic into ``folder``.

    Returns
    -------
    dict of str to NightTruth
        Name of the chip -> the truth, which is also written.

    Raises
    ------
    ConfigurationError
        As `prepare_mosaic`.
    """
    nights = prepare_mosaic(plan)
    truths = {night.plan.camera.name: night_truth(night) for night in nights}
    (folder / RAW_FOLDER).mkdir(parents=True, exist_ok=True)
    write_catalog(field_catalog(nights[0]), folder / "catalog.csv")
    for exposure in simulate_mosaic(nights):
        write_hdus(exposure.hdus(), folder / RAW_FOLDER / exposure.name)
        for truth, frame in zip(truths.values(), exposure.frames, strict=True):
            truth.frames.append(frame.truth)
            truth.cosmic_rays[frame.name] = frame.cosmic_rays
    for name, truth in truths.items():
        (folder / name).mkdir(exist_ok=True)
        write_truth(truth, folder / name)
    return truths
