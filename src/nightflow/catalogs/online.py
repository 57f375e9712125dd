"""Catalogues fetched from the services that keep them, and kept here for ever.

What is asked for is only the sky that is not there yet (`nightflow.catalogs.coverage`); what comes joins what
is there. The routes of a service are tried one after another: outages have stopped pipelines for days. A
route that fails half way leaves what it gave, and the next one is asked for the rest.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from nightflow.catalogs.cone import Cone
from nightflow.catalogs.coverage import Coverage, tiled
from nightflow.catalogs.importer import stars_of_table
from nightflow.catalogs.routes import Query, Route
from nightflow.catalogs.services import SERVICES, Service
from nightflow.catalogs.stars import ReferenceStars
from nightflow.catalogs.tiles import coverage_of, merge_catalog, read_metadata, validate_name
from nightflow.errors import ConfigurationError, RetryLater

__all__ = ["SERVICES", "TIME_LIMIT", "Cone", "FetchReport", "Query", "fetch_into"]

TIME_LIMIT = 120.0
"""Seconds for one question; a cone of a degree took 6 s on VizieR and 33 s by TAP."""
_TOLD = 200


@dataclass(frozen=True, kw_only=True)
class FetchReport:
    """What a fetch did.

    Attributes
    ----------
    name : str
        Catalogue.
    n_new, n_stars : int
        Stars that came, and stars that it has now.
    bands : tuple of str
    epoch : float
        Julian year of the positions.
    n_questions : int
        Cones that were asked for; 0 where all was there.
    warnings : tuple of str
        What went wrong on the way.
    """

    name: str
    n_new: int
    n_stars: int
    bands: tuple[str, ...]
    epoch: float
    n_questions: int
    warnings: tuple[str, ...] = ()


def fetch_into(
    cone: Cone, name: str, folder: Path, service: Service = SERVICES["gaia"], time_limit: float = TIME_LIMIT
) -> FetchReport:
    """Fetch what a local catalogue lacks of a cone, and add it.

    Parameters
    ----------
    cone : Cone
    name : str
        Of the catalogue; made where there is none.
    folder : Path
        Folder of the local catalogues.
    service : Service
        Where it comes from; always the same one for a catalogue.
    time_limit : float
        Seconds for one question.

    Raises
    ------
    RetryLater
        A part of the cone cannot be had from any route; the message says what became of each. What was
        answered in full is kept, and not asked for again.
    ConfigurationError
        The name may not be a catalogue's, or is that of an imported one or of another service.
    """
    coverage = _coverage(folder, validate_name(name), service)
    fetch = _Fetch(service, name, folder, coverage, time_limit)
    missing = coverage.missing(cone)
    for label, route in service.routes.items():
        missing = fetch.by(label, route, missing, cone.limit_mag)
    if len(missing):
        said = "; ".join(fetch.faults)
        raise RetryLater(
            f"{service.title} around ra {cone.ra:g} dec {cone.dec:g} cannot be had: {said}. "
            "Is there a network? Without one, import a file: `nightflow catalog import`"
        )
    metadata = read_metadata(folder, name)
    return FetchReport(
        name=name,
        n_new=fetch.n_new,
        n_stars=metadata.n_stars,
        bands=tuple(metadata.bands),
        epoch=metadata.epoch,
        n_questions=fetch.n_questions,
        warnings=tuple(fetch.faults),
    )


@dataclass
class _Fetch:
    """One fetch on its way through the routes."""

    service: Service
    name: str
    folder: Path
    coverage: Coverage
    time_limit: float
    n_new: int = 0
    n_questions: int = 0

    def __post_init__(self) -> None:
        self.faults: list[str] = []

    def by(self, label: str, route: Route, missing: NDArray[np.int64], limit_mag: float) -> NDArray[np.int64]:
        """Ask one route for the pixels that are missing; return those that still are."""
        tables, answered = [], []
        for cone, pixels in tiled(missing, self.coverage.order, route.tile_radius, limit_mag):
            self.n_questions += 1
            try:
                tables.append(self._answer(route, cone))
            except Exception as error:  # noqa: BLE001 - clients of services raise anything; the next is asked
                self.faults.append(f"{label}: {_told(error)}")
                break
            answered.append(pixels)
        if answered and not any(map(len, tables)) and not self.coverage.limits:
            self.faults.append(f"{label}: no star there")
        elif answered:
            done = np.concatenate(answered)
            self._keep([table for table in tables if len(table)], done, limit_mag)
            missing = np.setdiff1d(missing, done)
        return missing

    def _answer(self, route: Route, cone: Cone) -> Table:
        table = _within(self.time_limit, route.query, cone)
        lacking = [column for column in ("ra", "dec") if column not in table.colnames]
        if len(table) and lacking:
            raise LookupError(f"no column {', '.join(lacking)}")
        if not len(table) and self.service.everywhere:
            raise LookupError("no star there")
        return table

    def _keep(self, tables: Sequence[Table], pixels: NDArray[np.int64], limit_mag: float) -> None:
        self.coverage = self.coverage.with_fetched(pixels.tolist(), limit_mag)
        parts = [self._stars(table) for table in tables]
        _, added = merge_catalog(
            self.folder,
            self.name,
            parts,
            self.coverage,
            source=self.service.title,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self.n_new += added

    def _stars(self, table: Table) -> ReferenceStars:
        table = table.copy()
        table["epoch"] = self.service.epoch
        stars, _, _ = stars_of_table(table, self.name, self.service.title)
        mags = dict(stars.mags)
        for band, offset in (self.service.ab_offsets or {}).items():
            if band in mags:
                mags[band] = mags[band] + offset
        errors = {band: np.where(values >= 0, values, np.nan) for band, values in stars.mag_errs.items()}
        return replace(stars, mags=mags, mag_errs=errors)


def _coverage(folder: Path, name: str, service: Service) -> Coverage:
    """Return what a catalogue has of a service; nothing where there is no catalogue of that name."""
    if not (folder / name / "catalog.json").is_file():
        return Coverage(service=service.key, order=service.order)
    coverage = coverage_of(folder, name)
    if coverage is None:
        raise ConfigurationError(
            f"catalogue {name!r} was imported from {read_metadata(folder, name).source}: fetched stars do "
            "not join it; give another name with --name"
        )
    if coverage.service != service.key:
        raise ConfigurationError(
            f"catalogue {name!r} holds what {coverage.service} has, not {service.key}; "
            "give another name with --name"
        )
    return coverage


def _within(seconds: float, query: Query, cone: Cone) -> Table:
    """Call a query in a thread of its own, left behind where it does not end: its client knows no limit."""
    answers: list[Table] = []
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            answers.append(query(cone))
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            failures.append(error)

    thread = threading.Thread(target=ask, daemon=True, name="catalogue query")
    thread.start()
    thread.join(seconds)
    if failures:
        raise failures[0]
    if not answers:
        raise TimeoutError(f"no answer in {seconds:g} s")
    return answers[0]


def _told(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:_TOLD]}" if lines else type(error).__name__
