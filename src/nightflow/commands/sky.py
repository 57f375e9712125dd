"""`catalog`, `index`, `targets`: what is known of the sky."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from nightflow.astrometry.build_index import build_index
from nightflow.astrometry.fetch_index import OFFICIAL_SERIES, fetch_index, names_wanted
from nightflow.catalogs.importer import import_catalog
from nightflow.catalogs.local import LocalCatalogs
from nightflow.catalogs.online import SERVICES, TIME_LIMIT, Cone, fetch_into
from nightflow.catalogs.services import Service
from nightflow.commands.common import (
    ConfigOption,
    FormatOption,
    TableFormat,
    console,
    fail,
    note,
    open_store,
    print_rows,
    say,
    settings_or_exit,
)
from nightflow.errors import NightflowError
from nightflow.pipeline.prefetch import prefetch
from nightflow.store.models import Target
from nightflow.store.target_files import import_ephemeris, import_targets, target_names
from nightflow.store.targets import (
    MAXIMUM_NAME,
    add_target,
    find_target,
    list_targets,
    remove_targets,
    target_name,
    target_named,
)

__all__ = ["catalog", "index", "targets"]

catalog = typer.Typer(help="Reference catalogues kept on this machine.", no_args_is_help=True)
index = typer.Typer(help="astrometry.net index files.", no_args_is_help=True)
targets = typer.Typer(help="What you care for, fixed or moving.", no_args_is_help=True)


_STARTS_WITH = 40
"""Characters that a message shows of a name that is too long."""


class CatalogService(StrEnum):
    """Catalogues that can be fetched."""

    GAIA = "gaia"
    APASS = "apass"
    PANSTARRS = "panstarrs"
    SDSS = "sdss"


@catalog.command("import")
def catalog_import(
    file: Annotated[
        Path,
        typer.Argument(
            help="CSV, ECSV, VOTable or FITS with Gaia's or plain column names; an index file of "
            "astrometry.net, or a folder of them."
        ),
    ],
    name: Annotated[str, typer.Option(help="Name of the catalogue: lower case letters, digits, - and _.")],
    config: ConfigOption = None,
) -> None:
    """Import a catalogue; one of the same name is replaced."""
    settings = settings_or_exit(config)
    try:
        report = import_catalog(file, name, settings.resolve(settings.paths.catalogs))
    except NightflowError as error:
        fail(str(error))
    console.print(
        f"{report.n_stars} stars in {name}: bands {', '.join(report.bands) or 'none'}, epoch {report.epoch:g}"
    )
    for warning in report.warnings:
        note(warning)


@catalog.command("fetch")
def catalog_fetch(
    radius: Annotated[float, typer.Option(help="Degrees around the place, or around each target.")],
    ra: Annotated[float | None, typer.Option(help="Centre, ICRS degrees.")] = None,
    dec: Annotated[float | None, typer.Option(help="Centre, ICRS degrees.")] = None,
    around_targets: Annotated[
        bool,
        typer.Option("--targets", help="Around all targets instead, moving ones where they are tonight."),
    ] = False,
    service: Annotated[CatalogService, typer.Option("--from", help="Which catalogue.")] = CatalogService.GAIA,
    name: Annotated[
        str | None, typer.Option(help="Name that it is kept under; else that of the service.")
    ] = None,
    limit_mag: Annotated[
        float | None, typer.Option(help="Faintest star, in G, or V of APASS, or r; else 17 to 20.")
    ] = None,
    time_limit: Annotated[float, typer.Option(help="Seconds for each question.")] = TIME_LIMIT,
    config: ConfigOption = None,
) -> None:
    """Fetch stars around a place from the network; what is here already is not asked for again.

    Exits with 1 where a part of the sky that was asked for cannot be had; what could is kept.
    """
    chosen = SERVICES[str(service)]
    if around_targets:
        if ra is not None or dec is not None:
            fail("--targets and a place: give one of them")
        _fetch_around_targets(config, chosen, name or chosen.key, radius, limit_mag, time_limit)
        return
    if ra is None or dec is None:
        fail("no place: give --ra and --dec, in ICRS degrees, or --targets")
    settings = settings_or_exit(config)
    try:
        depth = chosen.limit_mag if limit_mag is None else limit_mag
        cone = Cone(ra=ra, dec=dec, radius=radius, limit_mag=depth)
        folder = settings.resolve(settings.paths.catalogs)
        report = fetch_into(cone, name or chosen.key, folder, chosen, time_limit)
    except NightflowError as error:
        fail(str(error))
    came = f"{report.n_new} new" if report.n_questions else "all were here"
    console.print(
        f"{report.n_stars} stars in {report.name} ({came}): "
        f"bands {', '.join(report.bands)}, epoch {report.epoch:g}"
    )
    for warning in report.warnings:
        note(warning)


def _fetch_around_targets(
    config: Path | None,
    service: Service,
    name: str,
    radius: float,
    limit_mag: float | None,
    time_limit: float,
) -> None:
    with open_store(config) as (settings, database):
        rows = prefetch(
            database,
            settings.resolve(settings.paths.catalogs),
            service,
            name=name,
            radius=radius,
            limit_mag=limit_mag,
            now=datetime.now(UTC),
            time_limit=time_limit,
        )
    ended = Counter(row["state"] for row in rows)
    counted = ", ".join(f"{count} {state}" for state, count in sorted(ended.items()))
    console.print(f"{sum(row['n_new'] for row in rows)} new stars in {name}; targets: {counted or 'none'}")
    for row in rows:
        if row["reason"]:
            note(f"{row['target']}: {row['reason']}")
    if ended["away"]:
        raise typer.Exit(1)


@catalog.command("list")
def catalog_list(config: ConfigOption = None, output: FormatOption = TableFormat.TABLE) -> None:
    """List the catalogues."""
    settings = settings_or_exit(config)
    local = LocalCatalogs(settings.resolve(settings.paths.catalogs))
    rows = []
    for name in local.names():
        metadata = local.metadata(name)
        rows.append(
            {
                "name": name,
                "stars": metadata.n_stars,
                "bands": " ".join(metadata.bands),
                "epoch": metadata.epoch,
                "source": metadata.source,
                "imported": metadata.created,
            }
        )
    print_rows(rows, ("name", "stars", "bands", "epoch", "source", "imported"), output)


@index.command("fetch")
def index_fetch(
    names: Annotated[list[str] | None, typer.Argument(help="Such as index-4110.fits.")] = None,
    scale: Annotated[list[int] | None, typer.Option(help="7 (quads of 22') to 19 (2000').")] = None,
    field: Annotated[float | None, typer.Option(help="All scales for images of this size, arcmin.")] = None,
    url: Annotated[
        str, typer.Option(help="Address of the folder that has them: http, https or file.")
    ] = OFFICIAL_SERIES,
    time_limit: Annotated[float, typer.Option(help="Seconds for each file.")] = 1800.0,
    config: ConfigOption = None,
) -> None:
    """Fetch index files into the folder of the settings; those that are there stay as they are."""
    settings = settings_or_exit(config)
    folder = settings.resolve(settings.paths.index_files)
    try:
        for name in names_wanted(names or [], scale or [], field):
            found = fetch_index(name, folder, url, time_limit=time_limit)
            quads = f"quads of {found.smallest_arcmin:.0f}' to {found.largest_arcmin:.0f}'"
            console.print(f"{found.path}: {found.n_stars} stars, {quads}", markup=False, soft_wrap=True)
    except NightflowError as error:
        fail(str(error))


@index.command("build")
def index_build(
    catalog_name: Annotated[str, typer.Argument(metavar="CATALOG", help="Name of a local catalogue.")],
    ra: Annotated[float, typer.Option(help="Centre, ICRS degrees.")],
    dec: Annotated[float, typer.Option(help="Centre, ICRS degrees.")],
    radius: Annotated[float, typer.Option(help="Degrees around the centre.")],
    field: Annotated[float, typer.Option(help="Shorter side of the images, arcmin.")],
    config: ConfigOption = None,
) -> None:
    """Build an index file from a part of a local catalogue (needs build-astrometry-index)."""
    settings = settings_or_exit(config)
    folder = settings.resolve(settings.paths.index_files)
    try:
        stars = LocalCatalogs(settings.resolve(settings.paths.catalogs)).cone(catalog_name, ra, dec, radius)
        path = build_index(stars, folder / f"index-{catalog_name}-{ra:.2f}{dec:+.2f}-{field:g}.fits", field)
    except NightflowError as error:
        fail(str(error))
    console.print(f"{path} ({path.stat().st_size // 1024} kB, {len(stars)} stars)", soft_wrap=True)


@targets.command("add")
def targets_add(
    name: Annotated[str, typer.Argument(help="Any text of up to 256 characters; unique.")],
    ra: Annotated[float | None, typer.Option(help="ICRS degrees.")] = None,
    dec: Annotated[float | None, typer.Option(help="ICRS degrees.")] = None,
    pmra: Annotated[float, typer.Option(help="mas/yr, with cos(dec) in it.")] = 0.0,
    pmdec: Annotated[float, typer.Option(help="mas/yr.")] = 0.0,
    ephemeris: Annotated[Path | None, typer.Option(help="CSV of mjd, ra, dec for a moving target.")] = None,
    kind: Annotated[str, typer.Option("--type", help="Such as transit, variable, asteroid.")] = "",
    notes: Annotated[str, typer.Option(help="For the reader.")] = "",
    config: ConfigOption = None,
) -> None:
    """Add a target, or give one new values."""
    with open_store(config) as (_, database):
        before = target_named(database, name)
        if ephemeris is not None:
            target = import_ephemeris(database, name, ephemeris, type=kind, notes=notes)
        else:
            target = add_target(database, name, ra, dec, pmra=pmra, pmdec=pmdec, type=kind, notes=notes)
    _tell_cut(name)
    new = f"target {target.name}"
    say(new if before is None else f"{new}: new values, it was at {_at((before.ra, before.dec))}")


def _tell_cut(name: str) -> None:
    if len(name.strip()) > MAXIMUM_NAME:
        start = name.strip()[:_STARTS_WITH]
        note(f"the name that begins {start!r} has {len(name)} characters: the first {MAXIMUM_NAME} are kept")


def _at(place: tuple[float | None, float | None]) -> str:
    ra, dec = place
    return "the places of an ephemeris" if ra is None or dec is None else f"RA {ra:.5f} Dec {dec:+.5f}"


@targets.command("remove")
def targets_remove(
    name: Annotated[str | None, typer.Argument(help="As it was added; or give --file.")] = None,
    file: Annotated[
        Path | None, typer.Option(help="CSV with a column name: all of its targets, such as it was imported.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Remove a target, or all of a file. Nothing that was measured is deleted.

    Frames that are reduced from now on have no forced aperture there. Those of before keep theirs until they
    are reduced again, and `lightcurve --ra --dec --kind forced` reads them by position; those of a moving
    target are read by its name once its ephemeris is added again.
    """
    if (name is None) == (file is None):
        fail("say which: a target's NAME, or --file with a column of names; one of them")
    with open_store(config) as (_, database):
        given = [name] if name is not None else target_names(file or Path())
        places = {target_name(one): target_named(database, one) for one in given}
        removed, unknown = remove_targets(database, given)
        alike = find_target(database, name) if name is not None and unknown else None
    for one in removed:
        target = places.get(one)
        say(f"target {one} removed; {_left(target) if target is not None else 'its measurements stay'}")
    if name is not None and unknown:
        meant = f"; {alike.name!r} is spelled like it" if alike is not None else ""
        fail(f"no target is called {name!r}{meant}; `nightflow targets list` names them")
    for one in unknown:
        note(f"{one}: no target is called so")


def _left(target: Target) -> str:
    """Return where the measurements of a target that was removed are to be found."""
    if target.ephemeris is not None or target.ra is None or target.dec is None:
        return "its measurements stay, and are read by its name once its ephemeris is added again"
    place = f"--ra {target.ra:.6f} --dec {target.dec:.6f}"
    return f"its measurements stay: nightflow lightcurve {place} --kind forced"


@targets.command("list")
def targets_list(config: ConfigOption = None, output: FormatOption = TableFormat.TABLE) -> None:
    """List the targets."""
    with open_store(config) as (_, database):
        known = list_targets(database)
    columns = ("name", "ra", "dec", "pmra", "pmdec", "epoch", "type", "notes", "ephemeris")
    rows = [
        {**{key: getattr(target, key) for key in columns}, "ephemeris": f"{len(target.ephemeris or [])} rows"}
        for target in known
    ]
    print_rows(rows, columns, output)


@targets.command("import")
def targets_import(
    file: Annotated[Path, typer.Argument(help="CSV of name, ra, dec and perhaps pmra, pmdec, type, notes.")],
    config: ConfigOption = None,
) -> None:
    """Add many targets at once: all of a file, or none."""
    with open_store(config) as (_, database):
        added = import_targets(database, file)
        for name in target_names(file):
            _tell_cut(name)
    console.print(f"{len(added)} targets")
