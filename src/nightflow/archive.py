"""The light-curve store for programs and notebooks.

    from nightflow.archive import Archive

    with Archive("nightflow.toml") as archive:
        curve = archive.light_curve("HAT-P-32")            # astropy TimeSeries
        near = archive.sources(ra=31.0427, dec=46.6878, radius=60)   # astropy Table
        varying = archive.variables()
        moving = archive.movers("2026-03-01")

Nothing here writes to the store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from astropy.table import MaskedColumn, Table
from astropy.timeseries import TimeSeries

from nightflow.config import load_settings
from nightflow.errors import ConfigurationError
from nightflow.lightcurves.light_curve import LightCurve
from nightflow.lightcurves.time_series import to_lightkurve, to_time_series
from nightflow.report.target_curve import named_curve
from nightflow.store.database import Database
from nightflow.store.movers import movers
from nightflow.store.queries import find_source, light_curve
from nightflow.store.source_search import COLUMNS, Box, Cone, search_sources
from nightflow.store.targets import list_targets

__all__ = ["Archive"]

_TARGET = ("name", "ra", "dec", "pmra", "pmdec", "epoch", "type", "notes")


class Archive:
    """A store to read from.

    Parameters
    ----------
    where : path or str
        The settings file, or a database URL such as ``sqlite:///night.sqlite``.

    Raises
    ------
    ConfigurationError
        There is no such settings file or database, or the URL is not one of a store.
    """

    def __init__(self, where: str | Path) -> None:
        url = str(where) if "://" in str(where) else load_settings(Path(where)).store_url
        self._database = Database(url)
        self._database.check_there()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._database.close()

    def light_curve(
        self,
        name: str | None = None,
        *,
        ra: float | None = None,
        dec: float | None = None,
        source_id: int | None = None,
        radius: float | None = None,
        filter: str | None = None,
        kind: str = "aperture",
    ) -> TimeSeries:
        """Return the light curve of a target, of the source nearest to a place, or of a source.

        Parameters
        ----------
        name : str, optional
            A target, fixed or moving, or a body that `finish` found, such as "N20260301-1".
        ra, dec : float, optional
            ICRS degrees.
        source_id : int, optional
            Number of a source.
        radius : float, optional
            Arcsec; default the larger of 3" and 1.5 pixels.
        filter : str, optional
            Only this one.
        kind : str
            aperture, psf or forced.

        Returns
        -------
        TimeSeries
            Barycentric times (TDB); columns and units as in `nightflow.lightcurves.light_curve`.

        Raises
        ------
        LookupError
            Nothing was measured there, or no target has that name.
        ConfigurationError
            It is not said of what.
        """
        return to_time_series(
            self.columns(name, ra=ra, dec=dec, source_id=source_id, radius=radius, filter=filter, kind=kind)
        )

    def lightkurve(self, name: str | None = None, **where: Any) -> Any:
        """Return the same as `light_curve` as a `lightkurve.LightCurve`, where that package is installed."""
        return to_lightkurve(self.columns(name, **where))

    def columns(
        self,
        name: str | None = None,
        *,
        ra: float | None = None,
        dec: float | None = None,
        source_id: int | None = None,
        radius: float | None = None,
        filter: str | None = None,
        kind: str = "aperture",
    ) -> LightCurve:
        """Return the same as `light_curve` as plain columns, with the rows that have no barycentric time."""
        if name is not None:
            curve = named_curve(self._database, name, radius=radius, filter_name=filter, kind=kind)
            what = f"target {name!r}"
        elif source_id is not None:
            curve = light_curve(self._database, source_id, filter=filter, kind=kind)
            what = f"source {source_id}"
        elif ra is not None and dec is not None:
            found = find_source(self._database, ra, dec, radius)
            what = f"RA {ra} Dec {dec}"
            curve = None
            if found is not None and found.source.id is not None:
                curve = light_curve(self._database, found.source.id, filter=filter, kind=kind)
        else:
            raise ConfigurationError("say of what: a target's name, ra and dec in degrees, or source_id")
        if curve is None or not len(curve):
            raise LookupError(f"{what}: nothing was measured there in that filter and kind")
        return curve

    def sources(self, *, ra: float, dec: float, radius: float) -> Table:
        """Return the sources within ``radius`` arcsec of a place in ICRS degrees, nearest first."""
        return _table(search_sources(self._database, Cone(ra=ra, dec=dec, radius=radius)), COLUMNS)

    def box(self, *, ra_from: float, ra_to: float, dec_from: float, dec_to: float) -> Table:
        """Return the sources in a box, in ICRS degrees, eastwards from ``ra_from`` to ``ra_to``."""
        where = Box(ra_from=ra_from, ra_to=ra_to, dec_from=dec_from, dec_to=dec_to)
        return _table(search_sources(self._database, where), COLUMNS)

    def variables(self, limit: int | None = None) -> Table:
        """Return the sources that vary, as of the last `finish`, those that stand out most first."""
        return _table(search_sources(self._database, variable=True, limit=limit), COLUMNS)

    def movers(self, night: str | None = None) -> Table:
        """Return the bodies that moved, of one night or of all."""
        rows = [one.mover.model_dump() | {"label": one.label} for one in movers(self._database, night)]
        return _table(
            rows, ("label", *(name for name in (rows[0] if rows else {}) if name not in ("id", "label")))
        )

    def targets(self) -> Table:
        """Return the targets by name."""
        rows = [{key: getattr(one, key) for key in _TARGET} for one in list_targets(self._database)]
        return _table(rows, _TARGET)


def _table(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Table:
    return Table([_column(name, [row[name] for row in rows]) for name in names])


def _column(name: str, values: list[Any]) -> MaskedColumn:
    mask = [value is None for value in values]
    known = [value for value in values if value is not None]
    fill: Any = "" if known and isinstance(known[0], str) else 0
    data = (
        np.array([fill if value is None else value for value in values]) if known else np.zeros(len(values))
    )
    return MaskedColumn(data, name=name, mask=mask)
