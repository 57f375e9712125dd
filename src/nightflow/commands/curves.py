"""`lightcurve`, `export`: what the store knows of a star."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from nightflow.commands.common import ConfigOption, console, fail, note, open_store
from nightflow.errors import ConfigurationError
from nightflow.fits_output import replacing
from nightflow.lightcurves.light_curve import LightCurve
from nightflow.lightcurves.upper_limits import LEVEL, limits_at_level
from nightflow.products.aavso import to_aavso
from nightflow.products.alcdef import to_alcdef
from nightflow.products.lightcurve_plot import plot as draw_plot
from nightflow.products.lightcurve_table import encode
from nightflow.report.target_curve import curve_at, named_curve, target_curve
from nightflow.store.database import Database
from nightflow.store.targets import list_targets

__all__ = ["export", "lightcurve"]

_NOTHING_FOUND = 2
_OBSERVER = "Your AAVSO code, for --format aavso; your name, for alcdef."
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")


class CurveFormat(StrEnum):
    """How a light curve is written."""

    CSV = "csv"
    ECSV = "ecsv"
    VOTABLE = "votable"
    PARQUET = "parquet"
    AAVSO = "aavso"
    """The AAVSO's Extended File Format, for WebObs."""
    ALCDEF = "alcdef"
    """The Asteroid Lightcurve Data Exchange Format."""


class Kind(StrEnum):
    """How a flux was measured."""

    APERTURE = "aperture"
    PSF = "psf"
    FORCED = "forced"


def lightcurve(
    name: Annotated[
        str | None, typer.Argument(help="A target or a body, such as N20260301-1; or give --ra and --dec.")
    ] = None,
    ra: Annotated[float | None, typer.Option(help="ICRS degrees.")] = None,
    dec: Annotated[float | None, typer.Option(help="ICRS degrees.")] = None,
    radius: Annotated[
        float | None, typer.Option(help='Arcsec; default the larger of 3" and 1.5 pixels.')
    ] = None,
    filter_name: Annotated[str | None, typer.Option("--filter", help="Only this filter.")] = None,
    kind: Annotated[Kind, typer.Option(help="How the flux was measured.")] = Kind.APERTURE,
    limit_sigma: Annotated[
        float, typer.Option(help="Forced photometry below this S/N is shown as an upper limit at this level.")
    ] = LEVEL,
    output: Annotated[CurveFormat, typer.Option("--format", help="How to write.")] = CurveFormat.CSV,
    plot: Annotated[Path | None, typer.Option(help="Draw the light curve into this PNG.")] = None,
    period: Annotated[float | None, typer.Option(help="Days; the plot is folded with it.")] = None,
    epoch: Annotated[float | None, typer.Option(help="BJD_TDB of phase 0; default the first point.")] = None,
    observer: Annotated[str, typer.Option(help=_OBSERVER)] = "",
    observatory: Annotated[str, typer.Option(help="Your MPC code, for --format alcdef.")] = "XXX",
    filter_code: Annotated[
        str | None, typer.Option(help="The AAVSO's code of the filter, where its name tells none.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Print the light curve of a target, of a body that moves, or of the source nearest to a place.

    Exits with 2 if there is none.
    """
    report = _Report(observer=observer, observatory=observatory, filter_code=filter_code)
    if period is not None and (plot is None or not period > 0):
        fail(f"--period {period}: give days above 0, and --plot for the folded figure")
    if not limit_sigma > 0:
        fail(f"--limit-sigma {limit_sigma}: give standard deviations above 0, such as 3")
    with open_store(config) as (_, database):
        if name is None:
            title, place = _place(ra, dec)
            curve = curve_at(database, place, radius=radius, filter_name=filter_name, kind=str(kind))
        else:
            title = name
            curve = _of_name(database, name, radius, filter_name, str(kind))
        if curve is None or len(curve) == 0:
            fail(f"nothing was measured at {title}", _NOTHING_FOUND)
        if limit_sigma != LEVEL:
            curve = limits_at_level(curve, limit_sigma)
        if plot is not None:
            draw_plot(curve, plot, title=title, period=period, epoch=epoch)
            note(f"{plot}: {len(curve)} points")
        sys.stdout.buffer.write(_encoded(curve, output, name or title, report))
        sys.stdout.buffer.flush()


@dataclass(frozen=True, kw_only=True)
class _Report:
    """What reports say beside the data."""

    observer: str
    observatory: str = "XXX"
    filter_code: str | None = None


def _encoded(curve: LightCurve, output: CurveFormat, name: str, report: _Report) -> bytes:
    try:
        if output is CurveFormat.AAVSO:
            return to_aavso(curve, star=name, observer=report.observer, code=report.filter_code)
        if output is CurveFormat.ALCDEF:
            return to_alcdef(curve, name=name, observer=report.observer, code=report.observatory)
        return encode(curve, str(output))
    except ConfigurationError as error:
        fail(str(error))


def export(
    folder: Annotated[Path, typer.Argument(help="Where the files go.")],
    output: Annotated[CurveFormat, typer.Option("--format", help="How to write.")] = CurveFormat.ECSV,
    kind: Annotated[Kind, typer.Option(help="How the flux was measured.")] = Kind.APERTURE,
    plots: Annotated[bool, typer.Option(help="Draw each light curve, too.")] = False,
    observer: Annotated[str, typer.Option(help=_OBSERVER)] = "",
    observatory: Annotated[str, typer.Option(help="Your MPC code, for --format alcdef.")] = "XXX",
    config: ConfigOption = None,
) -> None:
    """Write the light curves of all targets into a folder, one file each."""
    with open_store(config) as (_, database):
        folder.mkdir(parents=True, exist_ok=True)
        report = _Report(observer=observer, observatory=observatory)
        written = 0
        for number, target in enumerate(list_targets(database), start=1):
            curve = target_curve(database, target, kind=str(kind))
            if curve is None:
                note(f"{target.name}: nothing was measured")
                continue
            # A target's name is anybody's text: only its plain characters name a file.
            stem = f"{number:04d}-{_UNSAFE.sub('_', target.name)[:60]}"
            ending = "txt" if output in (CurveFormat.AAVSO, CurveFormat.ALCDEF) else str(output)
            with replacing(folder / f"{stem}.{ending}") as temporary:
                temporary.write_bytes(_encoded(curve, output, target.name, report))
            if plots:
                draw_plot(curve, folder / f"{stem}.png", title=target.name)
            written += 1
    console.print(f"{written} light curves in {folder}", soft_wrap=True)


def _of_name(
    database: Database, name: str, radius: float | None, filter_name: str | None, kind: str
) -> LightCurve | None:
    try:
        return named_curve(database, name, radius=radius, filter_name=filter_name, kind=kind)
    except LookupError as error:
        fail(str(error))


def _place(ra: float | None, dec: float | None) -> tuple[str, tuple[float, float]]:
    if ra is None or dec is None:
        fail("say which: a target's NAME, or --ra and --dec in degrees")
    if not (0 <= ra < 360 and -90 <= dec <= 90):
        fail(f"--ra {ra} --dec {dec} is not on the sky; both are ICRS degrees")
    return f"RA {ra:.4f} Dec {dec:+.4f}", (ra, dec)
