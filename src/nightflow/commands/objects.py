"""`sources`, `variables`, `movers`: what the store found on the sky."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from nightflow.commands.common import (
    ConfigOption,
    TableFormat,
    fail,
    note,
    one_missing,
    open_store,
    print_rows,
    write_named,
)
from nightflow.errors import ConfigurationError
from nightflow.lightcurves.light_curve import Column
from nightflow.lightcurves.variability import Doubt
from nightflow.nights import no_frames_of, parse_night
from nightflow.products.movers_plot import plot_movers
from nightflow.products.table_files import ENCODERS, table_of_rows
from nightflow.report.astrometry import AstrometryFormat, astrometry
from nightflow.store import movers as stored_movers
from nightflow.store import source_search
from nightflow.store.overview import nights
from nightflow.store.source_search import Box, Cone, search_sources

__all__ = ["MOVER_HELP", "SOURCE_HELP", "movers", "sources", "variables"]

_SHOWN = (
    "source_id",
    "ra",
    "dec",
    "separation",
    "n_obs",
    "instrument",
    "filter",
    "mag",
    "scatter",
    "variable",
    "not_judged",
)
_VARIABLE = (
    "source_id", "ra", "dec", "instrument", "filter", "n", "mag", "scatter", "expected_scatter", "excess",
    "chi2_dof", "amplitude", "period", "period_err", "period_fap", "caution",
)  # fmt: skip
_HIDDEN = {
    Doubt.NEIGHBOUR: "hold a neighbour's light in many of their measurements",
    Doubt.EDGE: "are near the edge of the frame in many of them",
    Doubt.WIDE: "are wider than a star",
}
_NOTHING_FOUND = 2


def _explained(columns: Sequence[Column]) -> str:
    """Return what columns mean, a line each, for the end of a help text."""
    lines = (f"{one.name}{f' ({one.unit})' if one.unit else ''}: {one.description}" for one in columns)
    return "\n".join(["Columns:", *lines])


SOURCE_HELP = _explained(source_search.DESCRIBED)
"""What the columns of `sources` and `variables` mean."""
MOVER_HELP = _explained(stored_movers.DESCRIBED)
"""What the columns of `movers` mean."""


class RowFormat(StrEnum):
    """How sources are written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    ECSV = "ecsv"
    VOTABLE = "votable"
    PARQUET = "parquet"


RowFormatOption = Annotated[
    RowFormat, typer.Option("--format", help="How to write; a table has the most telling columns only.")
]


class MoverFormat(StrEnum):
    """How bodies are written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    ECSV = "ecsv"
    VOTABLE = "votable"
    PARQUET = "parquet"
    ADES = "ades"
    """The IAU's Astrometry Data Exchange Standard, as PSV."""
    ADES_XML = "ades-xml"
    MPC80 = "mpc80"
    """The Minor Planet Center's 80 columns."""


def sources(
    ra: Annotated[float | None, typer.Option(help="ICRS degrees, with --dec and --radius.")] = None,
    dec: Annotated[float | None, typer.Option(help="ICRS degrees.")] = None,
    radius: Annotated[float, typer.Option(help="Arcsec.")] = 60.0,
    box: Annotated[
        str | None, typer.Option(help="RA_FROM,RA_TO,DEC_FROM,DEC_TO in degrees, eastwards.")
    ] = None,
    output: RowFormatOption = RowFormat.TABLE,
    config: ConfigOption = None,
) -> None:
    """List the sources in a circle or a box, with their statistics; exits with 2 if there is none."""
    where = _where(ra, dec, radius, box)
    if where is None:
        fail("say where: --ra and --dec in degrees, or --box RA_FROM,RA_TO,DEC_FROM,DEC_TO")
    with open_store(config) as (_, database):
        rows = search_sources(database, where)
    if not rows:
        fail("no source is there", _NOTHING_FOUND)
    _write(rows, source_search.DESCRIBED, output, _SHOWN)


def variables(
    ra: Annotated[float | None, typer.Option(help="ICRS degrees, with --dec and --radius.")] = None,
    dec: Annotated[float | None, typer.Option(help="ICRS degrees.")] = None,
    radius: Annotated[float, typer.Option(help="Arcsec.")] = 3600.0,
    box: Annotated[
        str | None, typer.Option(help="RA_FROM,RA_TO,DEC_FROM,DEC_TO in degrees, eastwards.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    output: RowFormatOption = RowFormat.TABLE,
    config: ConfigOption = None,
) -> None:
    """List the stars that vary, as of the last `finish`, those that stand out most first.

    A period that was seen for less than two cycles has a caution: it may be no period at all.
    """
    with open_store(config) as (_, database):
        rows = search_sources(database, _where(ra, dec, radius, box), variable=True, limit=limit)
        hidden = source_search.not_judged(database)
    if hidden:
        reasons = ", ".join(f"{number} {_HIDDEN[doubt]}" for doubt, number in hidden.items())
        note(
            f"{sum(hidden.values())} more of the store stand out but are not judged: {reasons}; "
            "`nightflow sources` has their excess, and not_judged"
        )
    _write(rows, source_search.DESCRIBED, output, _VARIABLE)


def movers(
    night: Annotated[str | None, typer.Argument(help="Date of the evening; else all nights.")] = None,
    output: Annotated[MoverFormat, typer.Option("--format", help="How to write.")] = MoverFormat.TABLE,
    plot: Annotated[Path | None, typer.Option(help="Draw the tracks into this PNG.")] = None,
    observatory: Annotated[str, typer.Option(help="Your MPC code, for the reports.")] = "XXX",
    observer: Annotated[str, typer.Option(help="Your name, for the reports, such as 'J. Doe'.")] = "",
    telescope: Annotated[str, typer.Option(help="Such as '0.5-m f/8 reflector + CCD'.")] = "",
    config: ConfigOption = None,
) -> None:
    """List the bodies that `finish` found moving, or report their places; exits with 2 if there is none."""
    try:
        if night is not None:
            parse_night(night)
        with open_store(config) as (_, database):
            found = stored_movers.movers(database, night)
            known = nights(database)
        if night is not None and night not in known:
            fail(no_frames_of(night, known), _NOTHING_FOUND)
        if not found:
            fail("no body moved; `nightflow finish NIGHT` looks for them", _NOTHING_FOUND)
        if plot is not None:
            write_named(plot, partial(plot_movers, found))
            note(f"{plot}: {len(found)} bodies")
        if output in _OF_ROWS:
            _write([one.row() for one in found], stored_movers.DESCRIBED, RowFormat(str(output)))
            return
        report = astrometry(
            found,
            AstrometryFormat(str(output)),
            code=observatory,
            observer=observer,
            telescope=telescope,
        )
    except ConfigurationError as error:
        fail(str(error))
    sys.stdout.buffer.write(report)


_OF_ROWS = frozenset(str(one) for one in RowFormat)
"""Formats of movers that have a row for each; the others are reports."""


def _write(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    output: RowFormat,
    shown: Sequence[str] | None = None,
) -> None:
    """Write rows with all columns, or with those to be shown in a table."""
    if output in ENCODERS:
        sys.stdout.buffer.write(ENCODERS[output](table_of_rows(rows, columns)))
        sys.stdout.buffer.flush()
        return
    names = [column.name for column in columns]
    as_table = output is RowFormat.TABLE and shown is not None
    print_rows(rows, shown if as_table and shown else names, TableFormat(str(output)))


def _where(ra: float | None, dec: float | None, radius: float, box: str | None) -> Cone | Box | None:
    if box is not None:
        if ra is not None or dec is not None:
            fail(f"--box {box!r} beside --ra or --dec: give a box or a circle")
        return _box(box)
    if ra is None and dec is None:
        return None
    if ra is None or dec is None:
        fail(one_missing(ra, dec))
    if not (0 <= ra < 360 and -90 <= dec <= 90):
        fail(f"--ra {ra} --dec {dec} is not on the sky; both are ICRS degrees")
    if not 0 < radius <= 648000:
        fail(f"--radius {radius}: give arcsec above 0")
    return Cone(ra=ra, dec=dec, radius=radius)


def _box(text: str) -> Box:
    try:
        ra_from, ra_to, dec_from, dec_to = (float(one) for one in text.split(","))
    except ValueError:
        fail(f"--box {text!r}: give four numbers, RA_FROM,RA_TO,DEC_FROM,DEC_TO, in degrees")
    try:
        return Box(ra_from=ra_from, ra_to=ra_to, dec_from=dec_from, dec_to=dec_to)
    except ConfigurationError as error:
        fail(f"--box {text!r}: {error}")
