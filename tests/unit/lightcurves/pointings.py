"""Several chips, or several pointings, of one simulated sky: which frame covers what is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nightflow.lightcurves.field_night import FieldNight
from nightflow.lightcurves.footprints import footprints
from tests.unit.lightcurves.sky_lists import CENTER, Observed, Sky, _on_the_sky, observe

Window = tuple[float, float, float, float]
"""West, east, south and north edge, arcsec from the centre of the sky, x to the east."""


def cut(sky: Sky, windows: list[list[Window]]) -> Observed:
    """Return what frames see through windows: frame f of the sky becomes one for each of ``windows[f]``."""
    seen = observe(sky)
    parts, frames = [], []
    places = _places(sky, seen)
    for number, of_frame in enumerate(windows):
        for window in of_frame:
            rows = np.flatnonzero(seen.night.frame == number)
            west, east, south, north = window
            x, y = places[rows].T
            rows = rows[(x >= west) & (x < east) & (y >= south) & (y < north)]
            parts.append((rows, np.full(len(rows), len(frames))))
            frames.append((number, window))
    rows = np.concatenate([one for one, _ in parts])
    columns = {
        name: getattr(seen.night, name)[rows]
        for name in FieldNight.__dataclass_fields__
        if name not in ("frame", "n_frames", "area", "scale", "footprints")
    }
    edges = np.array([window for _, window in frames])
    middle = np.column_stack([edges[:, :2].mean(axis=1), edges[:, 2:].mean(axis=1)])
    ra, dec = _on_the_sky(sky, middle[:, 0], middle[:, 1])
    size = edges[:, [1, 3]] - edges[:, [0, 2]]
    night = replace(
        seen.night,
        **columns,
        frame=np.concatenate([one for _, one in parts]),
        n_frames=len(frames),
        area=float(np.median(size.prod(axis=1))),
        footprints=footprints(
            hours=np.array([number * sky.cadence for number, _ in frames]),
            ra=ra,
            dec=dec,
            rotation=np.zeros(len(frames)),
            height=size[:, 1],
            width=size[:, 0],
        ),
    )
    return Observed(night=night, truth=seen.truth[rows], position_err=seen.position_err[rows])


def _places(sky: Sky, seen: Observed) -> NDArray[np.float64]:
    """Return the places on the tangent plane of a small field near its centre, arcsec, x to the east."""
    assert sky.center == CENTER
    ra, dec = np.radians(seen.night.ra - sky.center[0]), np.radians(seen.night.dec)
    middle = np.radians(sky.center[1])
    depth = np.sin(dec) * np.sin(middle) + np.cos(dec) * np.cos(middle) * np.cos(ra)
    x = np.cos(dec) * np.sin(ra) / depth
    y = (np.sin(dec) * np.cos(middle) - np.cos(dec) * np.sin(middle) * np.cos(ra)) / depth
    return np.degrees(np.column_stack([x, y])) * 3600.0
