"""`sources`, `variables`, `movers`: what the store found on the sky."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from nightflow.commands.common import (
    ConfigOption,
    FormatOption,
    TableFormat,
    fail,
    note,
    open_store,
    print_rows,
)
from nightflow.errors import ConfigurationError
from nightflow.nights import parse_night
from nightflow.products.movers_plot import plot_movers
from nightflow.report.astrometry import AstrometryFormat, astrometry
from nightflow.store.movers import ObservedMover
from nightflow.store.movers import movers as stored_movers
from nightflow.store.source_search import COLUMNS, Box, Cone, search_sources

__all__ = ["movers", "sources", "variables"]

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
)
_VARIABLE = (
    "source_id", "ra", "dec", "instrument", "filter", "n", "mag", "scatter", "expected_scatter", "excess",
    "chi2_dof", "amplitude", "period", "period_err", "period_fap",
)  # fmt: skip
_MOVER = (
    "label", "night", "mjd", "ra", "dec", "rate", "rate_err", "position_angle", "position_angle_err",
    "rate_ra", "rate_dec", "rms_arcsec", "n", "n_frames", "mag", "filter", "false_alarm",
)  # fmt: skip


class MoverFormat(StrEnum):
    """How bodies are written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
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
    output: FormatOption = TableFormat.TABLE,
    config: ConfigOption = None,
) -> None:
    """List the sources in a circle or a box, with their statistics; exits with 2 if there is none."""
    where = _where(ra, dec, radius, box)
    if where is None:
        fail("say where: --ra and --dec in degrees, or --box RA_FROM,RA_TO,DEC_FROM,DEC_TO")
    with open_store(config) as (_, database):
        rows = search_sources(database, where)
    if not rows:
        fail("no source is there", 2)
    print_rows(rows, _SHOWN if output is TableFormat.TABLE else COLUMNS, output)


def variables(
    ra: Annotated[float | None, typer.Option(help="ICRS degrees, with --dec and --radius.")] = None,
    dec: Annotated[float | None, typer.Option(help="ICRS degrees.")] = None,
    radius: Annotated[float, typer.Option(help="Arcsec.")] = 3600.0,
    box: Annotated[
        str | None, typer.Option(help="RA_FROM,RA_TO,DEC_FROM,DEC_TO in degrees, eastwards.")
    ] = None,
    limit: Annotated[int, typer.Option(help="At most so many.")] = 100,
    output: FormatOption = TableFormat.TABLE,
    config: ConfigOption = None,
) -> None:
    """List the stars that vary, as of the last `finish`, those that stand out most first."""
    with open_store(config) as (_, database):
        rows = search_sources(database, _where(ra, dec, radius, box), variable=True, limit=limit)
    print_rows(rows, _VARIABLE if output is TableFormat.TABLE else COLUMNS, output)


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
            found = stored_movers(database, night)
        if not found:
            fail("no body moved; `nightflow finish NIGHT` looks for them", 2)
        if plot is not None:
            plot_movers(found, plot)
            note(f"{plot}: {len(found)} bodies")
        if output in (MoverFormat.TABLE, MoverFormat.CSV, MoverFormat.JSON):
            print_rows([_row(one) for one in found], _MOVER, TableFormat(str(output)))
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


def _row(observed: ObservedMover) -> dict[str, Any]:
    mover = observed.mover
    rate = (mover.rate_ra**2 + mover.rate_dec**2) ** 0.5
    # Both axes have the same error, so that any direction has it.
    return mover.model_dump() | {"label": observed.label, "rate": rate, "rate_err": mover.rate_ra_err}


def _where(ra: float | None, dec: float | None, radius: float, box: str | None) -> Cone | Box | None:
    if box is not None:
        return _box(box)
    if ra is None and dec is None:
        return None
    if ra is None or dec is None or not (0 <= ra < 360 and -90 <= dec <= 90):
        fail(f"--ra {ra} --dec {dec} is not on the sky; both are ICRS degrees")
    if not 0 < radius <= 648000:
        fail(f"--radius {radius}: give arcsec above 0")
    return Cone(ra=ra, dec=dec, radius=radius)


def _box(text: str) -> Box:
    try:
        ra_from, ra_to, dec_from, dec_to = (float(one) for one in text.split(","))
    except ValueError:
        fail(f"--box {text!r}: give four numbers, RA_FROM,RA_TO,DEC_FROM,DEC_TO, in degrees")
    if not (0 <= ra_from <= 360 and 0 <= ra_to <= 360 and -90 <= dec_from < dec_to <= 90):
        fail(f"--box {text!r}: right ascensions are 0 to 360, declinations -90 to 90, the smaller one first")
    return Box(ra_from=ra_from, ra_to=ra_to, dec_from=dec_from, dec_to=dec_to)
