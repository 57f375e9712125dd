"""The commands."""

from __future__ import annotations

import logging
from typing import Annotated

import typer
from astropy.utils import data as astropy_data
from astropy.utils import iers

from nightflow import __version__
from nightflow.commands import (
    completeness,
    curves,
    deploy,
    doctor,
    explain,
    ledger,
    masters,
    notify,
    objects,
    reduce,
    residuals,
    scamp,
    serve,
    setup,
    simulation,
    sky,
    store,
)

__all__ = ["app"]

# The dome may have no network: what astropy needs comes with the installed packages.
iers.conf.auto_download = False
iers.conf.iers_degraded_accuracy = "ignore"
iers.conf.auto_max_age = None
astropy_data.conf.allow_internet = False
# It tells of every connection that no migration is due.
logging.getLogger("alembic").setLevel(logging.WARNING)

app = typer.Typer(
    name="nightflow",
    help="From raw frames to calibrated light curves while the night is still running.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nightflow {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Hold the options of the program itself."""


app.command()(setup.init)
app.command()(doctor.doctor)
app.command()(reduce.run)
app.command()(reduce.watch)
app.command()(reduce.backfill)
app.command()(reduce.finish)
app.command()(ledger.status)
app.command()(ledger.frames)
app.command()(explain.explain)
app.command()(completeness.completeness)
app.command()(residuals.residuals)
app.command()(scamp.scamp)
app.command()(ledger.retry)
app.command()(curves.lightcurve)
app.command()(curves.export)
app.command(epilog=objects.SOURCE_HELP)(objects.sources)
app.command(epilog=objects.SOURCE_HELP)(objects.variables)
app.command(epilog=objects.MOVER_HELP)(objects.movers)
app.command()(serve.serve)
app.command()(notify.notify)
app.command()(deploy.deploy)
app.command()(simulation.simulate)
app.command()(simulation.demo)
app.add_typer(masters.masters, name="masters")
app.add_typer(store.store, name="store")
app.add_typer(sky.catalog, name="catalog")
app.add_typer(sky.index, name="index")
app.add_typer(sky.targets, name="targets")
