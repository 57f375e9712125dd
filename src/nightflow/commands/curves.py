"""`lightcurve`, `export`: what the store knows of a star."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from nightflow.commands.common import (
    ConfigOption,
    console,
    fail,
    note,
    one_missing,
    open_store,
    printable,
    say,
    write_named,
)
from nightflow.errors import ConfigurationError
from nightflow.fits_output import replacing
from nightflow.flags import MEANINGS, Flag
from nightflow.lightcurves.detrend import TERMS, detrended_curve
from nightflow.lightcurves.light_curve import COLUMNS, LightCurve
from nightflow.lightcurves.upper_limits import LEVEL, limits_at_level
from nightflow.products.aavso import to_aavso
from nightflow.products.alcdef import to_alcdef
from nightflow.products.lightcurve_plot import plot as draw_plot
from nightflow.products.lightcurve_table import encode
from nightflow.report.target_curve import curve_at, named_curve, target_curve
from nightflow.store.database import Database
from nightflow.store.field_curves import field_curves
from nightflow.store.targets import list_targets

__all__ = ["export", "lightcurve"]

_NOTHING_FOUND = 2
_OBSERVER = "Your AAVSO code, for --format aavso; your name, for alcdef."
_FILTER_CODE = "The AAVSO's code of the filter, where its name tells none."
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

    @property
    def ending(self) -> str:
        """What the names of exported files end in; the two reports of text must not replace each other."""
        return f"{self}.txt" if self in (CurveFormat.AAVSO, CurveFormat.ALCDEF) else str(self)


class Kind(StrEnum):
    """How a flux was measured."""

    APERTURE = "aperture"
    PSF = "psf"
    FORCED = "forced"


def _print_columns(asked: bool) -> None:
    """Print what `described` says and exit."""
    if asked:
        for line in described():
            say(line)
        raise typer.Exit


def described() -> list[str]:
    """Return the columns of a light curve with units and meaning, and the bits of its flags, a line each."""
    width = max(len(column.name) for column in COLUMNS)
    unit = max(len(column.unit) for column in COLUMNS)
    lines = [f"{one.name:<{width}}  {one.unit:<{unit}}  {one.description}" for one in COLUMNS]
    bits = [f"{int(flag):>{width}}  {str(flag.name).lower()}: {MEANINGS[flag]}" for flag in Flag]
    return [*lines, "", "flags are the sum of", *bits]


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
    plot: Annotated[Path | None, typer.Option(help="Draw the light curve into this PNG, PDF or SVG.")] = None,
    period: Annotated[float | None, typer.Option(help="Days; the plot is folded with it.")] = None,
    epoch: Annotated[float | None, typer.Option(help="BJD_TDB of phase 0; default the first point.")] = None,
    trends: Annotated[
        str, typer.Option("--detrend", help=f"Take trends off diff_mag: any of {','.join(TERMS)}.")
    ] = "",
    event: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar="START END",
            help="BJD_TDB of both ends of a transit, on which no trend rests; else one is sought.",
        ),
    ] = None,
    observer: Annotated[str, typer.Option(help=_OBSERVER)] = "",
    observatory: Annotated[str, typer.Option(help="Your MPC code, for --format alcdef.")] = "XXX",
    filter_code: Annotated[str | None, typer.Option(help=_FILTER_CODE)] = None,
    columns: Annotated[
        bool,
        typer.Option(
            "--columns",
            help="Say what each column is: unit, meaning, what its error holds; and the flags.",
            callback=_print_columns,
            is_eager=True,
        ),
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Print the light curve of a target, of a body that moves, or of the source nearest to a place.

    `--columns` says what each column is. Exits with 2 if there is none.
    """
    report = _Report(observer=observer, observatory=observatory, filter_code=filter_code)
    if period is not None and (plot is None or not period > 0):
        fail(f"--period {period}: give days above 0, and --plot for the folded figure")
    if not limit_sigma > 0:
        fail(f"--limit-sigma {limit_sigma}: give standard deviations above 0, such as 3")
    with open_store(config) as (_, database):
        if name is None:
            title, place = _place(ra, dec)
            look = partial(curve_at, database, place, radius=radius)
        else:
            title = printable(name)
            look = partial(_of_name, database, name, radius=radius)
        curve = look(filter_name=filter_name, kind=str(kind))
        if curve is None or len(curve) == 0:
            asked = f"kind {kind}" if filter_name is None else f"filter {filter_name!r}, kind {kind}"
            later = "; frames of before `targets add` are measured by `nightflow run --force`"
            fail(
                f"nothing was measured at {title} in {asked}; {_what_there_is(look)}"
                f"{later if kind == Kind.FORCED else ''}",
                _NOTHING_FOUND,
            )
        if limit_sigma != LEVEL:
            curve = limits_at_level(curve, limit_sigma)
        if trends:
            field = field_curves(database, curve, str(kind))
            curve = detrended_curve(curve, _terms(trends), field, event)
            note(f"detrended: {curve.meta['detrended']}")
        if "frames_say" in curve.meta:
            note(f"most of its frames say: {curve.meta['frames_say']}")
        if plot is not None:
            write_named(plot, partial(draw_plot, curve, title=title, period=period, epoch=epoch))
            note(f"{plot}: {len(curve)} points")
        sys.stdout.buffer.write(_encoded(curve, output, name or title, report))
        sys.stdout.buffer.flush()


def _terms(trends: str) -> list[str]:
    terms = [term.strip() for term in trends.split(",")]
    unknown = [term for term in terms if term not in TERMS]
    if unknown:
        fail(f"--detrend {trends}: {unknown[0]!r} is none of {', '.join(TERMS)}")
    return terms


@dataclass(frozen=True, kw_only=True)
class _Report:
    """What reports say beside the data."""

    observer: str
    observatory: str = "XXX"
    filter_code: str | None = None


def _encoded(curve: LightCurve, output: CurveFormat, name: str, report: _Report) -> bytes:
    try:
        return _content(curve, output, name, report)
    except ConfigurationError as error:
        fail(str(error))


def _content(curve: LightCurve, output: CurveFormat, name: str, report: _Report) -> bytes:
    if output is CurveFormat.AAVSO:
        return to_aavso(curve, star=name, observer=report.observer, code=report.filter_code)
    if output is CurveFormat.ALCDEF:
        return to_alcdef(curve, name=name, observer=report.observer, code=report.observatory)
    return encode(curve, str(output))


def export(
    folder: Annotated[Path, typer.Argument(help="Where the files go.")],
    output: Annotated[CurveFormat, typer.Option("--format", help="How to write.")] = CurveFormat.ECSV,
    kind: Annotated[Kind, typer.Option(help="How the flux was measured.")] = Kind.APERTURE,
    plots: Annotated[bool, typer.Option(help="Draw each light curve, too.")] = False,
    observer: Annotated[str, typer.Option(help=_OBSERVER)] = "",
    observatory: Annotated[str, typer.Option(help="Your MPC code, for --format alcdef.")] = "XXX",
    filter_code: Annotated[str | None, typer.Option(help=_FILTER_CODE)] = None,
    config: ConfigOption = None,
) -> None:
    """Write the light curves of all targets into a folder, one file each, by the target's name.

    The names of reports end in .aavso.txt and .alcdef.txt. Exits with 1 if a target's cannot be written as
    asked; the others are.
    """
    report = _Report(observer=observer, observatory=observatory, filter_code=filter_code)
    written, refused = 0, 0
    with open_store(config) as (_, database):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            fail(f"{folder}: the folder cannot be made: {error.strerror}")
        for target in list_targets(database):
            curve = target_curve(database, target, kind=str(kind))
            if curve is None:
                note(f"{printable(target.name)}: nothing was measured in kind {kind}")
                continue
            try:
                content = _content(curve, output, target.name, report)
            except ConfigurationError as error:
                note(f"{printable(target.name)}: {error}")
                refused += 1
                continue
            stem = _stem(target.name)
            with replacing(folder / f"{stem}.{output.ending}") as temporary:
                temporary.write_bytes(content)
            if plots:
                draw_plot(curve, folder / f"{stem}.png", title=target.name)
            written += 1
    console.print(f"{written} light curves in {folder}", soft_wrap=True)
    if refused:
        fail(f"{refused} light curves could not be written as {output}")


def _stem(name: str) -> str:
    """Return what the files of a target are called: a name is anybody's text.

    Where it is more than plain small letters and figures, a hash keeps apart what would look the same, on
    disks that know no capitals as well.
    """
    plain = _UNSAFE.sub("_", name)[:60]
    if plain == name == name.lower() and not plain.startswith("."):
        return plain
    digest = hashlib.blake2b(name.encode("utf-8", "backslashreplace"), digest_size=4).hexdigest()
    return f"{plain.lstrip('.')}-{digest}"


def _of_name(
    database: Database, name: str, *, radius: float | None, filter_name: str | None = None, kind: str
) -> LightCurve | None:
    try:
        return named_curve(database, name, radius=radius, filter_name=filter_name, kind=kind)
    except LookupError as error:
        fail(str(error))


def _what_there_is(look: Callable[..., LightCurve | None]) -> str:
    """Return the kinds and filters that a place or a target was measured in."""
    curves = {kind: look(kind=str(kind)) for kind in Kind}
    there = [
        f"{kind} in {', '.join(repr(name) for name in sorted(set(curve['filter'].tolist())))}"
        for kind, curve in curves.items()
        if curve is not None and len(curve)
    ]
    return f"there is {'; '.join(there)}" if there else "there is nothing in any filter and kind"


def _place(ra: float | None, dec: float | None) -> tuple[str, tuple[float, float]]:
    if ra is None and dec is None:
        fail("say which: a target's NAME, or --ra and --dec in degrees")
    if ra is None or dec is None:
        fail(one_missing(ra, dec))
    if not (0 <= ra < 360 and -90 <= dec <= 90):
        fail(f"--ra {ra} --dec {dec} is not on the sky; both are ICRS degrees")
    return f"RA {ra:.4f} Dec {dec:+.4f}", (ra, dec)
