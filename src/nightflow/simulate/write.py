"""A night on disk: frames, the catalogue of the field, and the truth.

Layout of the folder::

    raw/0001-bias.fits ...   frames, sorted by time, calibrations first
    catalog.csv              the field's catalogue, for `nightflow catalog import`
    truth.json               plan, transit, target, one entry a frame
    truth-stars.ecsv         every star
    truth-frames.ecsv        every frame
    truth-cosmics.ecsv       every pixel that a cosmic ray touched
    truth-detector.fits      bias (ADU), dark rate (electron/s), flat, hot pixels, dead columns
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table, vstack

from nightflow.simulate.night import SimulatedFrame, render_frame
from nightflow.simulate.plan import NightPlan
from nightflow.simulate.prepare import field_catalog, night_truth, prepare_night
from nightflow.simulate.truth import NightTruth, frame_table, star_table

__all__ = ["RAW_FOLDER", "write_catalog", "write_frame", "write_hdus", "write_night", "write_truth"]

RAW_FOLDER = "raw"
"""Where the frames go, inside the folder of the night."""


def write_night(
    plan: NightPlan, folder: Path, progress: Callable[[str, int, int], None] | None = None
) -> NightTruth:
    """Simulate a night into ``folder``.

    Parameters
    ----------
    plan : NightPlan
        What to simulate.
    folder : Path
        Made where absent; files of the same name are replaced.
    progress : callable, optional
        Called after each frame with its name, how many are done, and how many there are.

    Returns
    -------
    NightTruth
        The truth, which is also written.

    Raises
    ------
    ConfigurationError
        The plan cannot be carried out.
    """
    night = prepare_night(plan)
    truth = night_truth(night)
    raw = folder / RAW_FOLDER
    raw.mkdir(parents=True, exist_ok=True)
    write_catalog(field_catalog(night), folder / "catalog.csv")
    for done, scheduled in enumerate(night.schedule, start=1):
        frame = render_frame(night, scheduled)
        write_frame(frame, raw)
        truth.frames.append(frame.truth)
        truth.cosmic_rays[frame.name] = frame.cosmic_rays
        if progress is not None:
            progress(frame.name, done, len(night.schedule))
    write_truth(truth, folder)
    return truth


def write_frame(frame: SimulatedFrame, folder: Path) -> Path:
    """Write one frame under a temporary name, then rename it, so that no watcher sees half a file."""
    return write_hdus(frame.hdus(), folder / frame.name)


def write_hdus(hdus: fits.HDUList, path: Path) -> Path:
    """Write a raw file under a temporary name, then rename it."""
    partial = path.with_name(f".{path.name}.part")
    hdus.writeto(partial, overwrite=True)
    partial.replace(path)
    return path


def write_catalog(catalog: Table, path: Path) -> None:
    """Write the field's catalogue as CSV."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(catalog.colnames)
        writer.writerows(zip(*(catalog[name].tolist() for name in catalog.colnames), strict=True))


def write_truth(truth: NightTruth, folder: Path) -> None:
    """Write the truth of a night whose frames are all rendered."""
    star_table(truth.scene).write(folder / "truth-stars.ecsv", overwrite=True)
    frame_table(truth.frames).write(folder / "truth-frames.ecsv", overwrite=True)
    _cosmic_table(truth).write(folder / "truth-cosmics.ecsv", overwrite=True)
    _detector_hdus(truth).writeto(folder / "truth-detector.fits", overwrite=True)
    (folder / "truth.json").write_text(json.dumps(_summary(truth), indent=1, allow_nan=False) + "\n")


def _summary(truth: NightTruth) -> dict[str, Any]:
    stars = truth.scene.stars
    target = int(np.argmax(stars.is_target))
    return {
        "plan": asdict(truth.plan),
        "target": {
            "name": truth.plan.field.name,
            "ra": float(stars.ra[target]),
            "dec": float(stars.dec[target]),
            "v": float(stars.v[target]),
            "v_r": float(stars.v_r[target]),
        },
        "transit": asdict(truth.transit) if truth.transit else None,
        "frames": [{key: _finite(value) for key, value in asdict(frame).items()} for frame in truth.frames],
    }


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cosmic_table(truth: NightTruth) -> Table:
    parts = [
        Table({"frame": [name] * len(rays.x), "x": rays.x, "y": rays.y, "electrons": rays.electrons.round(1)})
        for name, rays in truth.cosmic_rays.items()
        if len(rays.x)
    ]
    return (
        vstack(parts)
        if parts
        else Table(names=("frame", "x", "y", "electrons"), dtype=(str, int, int, float))
    )


def _detector_hdus(truth: NightTruth) -> fits.HDUList:
    chip = truth.detector
    planes = {
        "BIAS": chip.bias.astype(np.float32),
        "DARK": chip.dark_rate.astype(np.float32),
        "FLAT": chip.flat.astype(np.float32),
        "HOT": chip.hot.astype(np.uint8),
        "DEAD": chip.dead.astype(np.uint8),
    }
    return fits.HDUList(
        [fits.PrimaryHDU(), *(fits.ImageHDU(plane, name=name) for name, plane in planes.items())]
    )
