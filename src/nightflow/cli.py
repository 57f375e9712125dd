"""The commands."""

from __future__ import annotations

import logging
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from nightflow import __version__
from nightflow.commands.late import LateCommand
from nightflow.log_lines import LogLines
from nightflow.offline import stay_offline

__all__ = ["COMMANDS", "app"]

# Each module brings half of the package along: it is imported when its command is called.
COMMANDS = (
    LateCommand("init", "Write DIR/nightflow.toml and an SQLite store; ask nothing.", "setup:init"),
    LateCommand(
        "doctor",
        "Check everything that a night needs, and say the mend; exits with 1 on a fault.",
        "doctor:doctor",
    ),
    LateCommand(
        "run", "Reduce now, in this process: calibrations first, then lights in order of time.", "reduce:run"
    ),
    LateCommand(
        "watch",
        "Reduce frames as they land, until told to stop (Ctrl-C or SIGTERM); SIGHUP reads the settings anew.",
        "reduce:watch",
    ),
    LateCommand(
        "backfill",
        "Reduce old nights again: with better masters, a new catalogue, newer software.",
        "reduce:backfill",
    ),
    LateCommand(
        "finish",
        "Conclude a night: definitive masters, what they change, and the report in products/NIGHT.",
        "reduce:finish",
    ),
    LateCommand(
        "status",
        "Show whether the service is at work, what comes and waits, the room on the disk, "
        "and the last error.",
        "ledger:status",
    ),
    LateCommand(
        "frames", "List the frames: one row each, with every measure in CSV and JSON.", "ledger:frames"
    ),
    LateCommand(
        "explain",
        "Tell which masters a frame got and why, its solution, its zero point, and every flag.",
        "explain:explain",
    ),
    LateCommand(
        "completeness",
        "Put stars into a frame and tell which part of them is detected, by magnitude; nothing is stored.",
        "completeness:completeness",
    ),
    LateCommand(
        "residuals",
        "List the stars that a frame's WCS was fitted to, and draw their residuals.",
        "residuals:residuals",
    ),
    LateCommand(
        "scamp",
        "Solve all chips of exposures together with SCAMP; each chip's WCS is verified "
        "on stars left out of it.",
        "scamp:scamp",
    ),
    LateCommand(
        "retry",
        "Put exposures back into the queue; `watch` takes them up, or `run` on their folder.",
        "ledger:retry",
    ),
    LateCommand(
        "lightcurve",
        "Print the light curve of a target, of a body that moves, or of the source nearest to a place.",
        "curves:lightcurve",
    ),
    LateCommand(
        "export",
        "Write the light curves of all targets into a folder, one file each, by the target's name.",
        "curves:export",
    ),
    LateCommand(
        "sources",
        "List the sources in a circle or a box, with their statistics; exits with 2 if there is none.",
        "objects:sources",
        epilog="SOURCE_HELP",
    ),
    LateCommand(
        "variables",
        "List the stars that vary, as of the last `finish`, those that stand out most first.",
        "objects:variables",
        epilog="SOURCE_HELP",
    ),
    LateCommand(
        "movers",
        "List the bodies that `finish` found moving, or report their places; exits with 2 if there is none.",
        "objects:movers",
        epilog="MOVER_HELP",
    ),
    LateCommand(
        "serve",
        "Show what goes on as a page in the browser, until told to stop (Ctrl-C); it only reads.",
        "serve:serve",
    ),
    LateCommand(
        "notify",
        r"Send a message the way `watch` does (\[notify] command and webhook), to see that it arrives.",
        "notify:notify",
    ),
    LateCommand(
        "deploy",
        "Make deployments, queues, the schedule of the night's end and automations on the Prefect server.",
        "deploy:deploy",
    ),
    LateCommand(
        "simulate",
        "Write a night of raw frames with known truth: OUT/raw, OUT/catalog.csv, OUT/truth*.",
        "simulation:simulate",
    ),
    LateCommand(
        "demo",
        "Simulate a night, let it land under `watch`, plot the transit; exits with 1 if anything is wrong.",
        "simulation:demo",
    ),
    LateCommand("masters", "Master calibrations.", "masters:masters"),
    LateCommand("store", "The store itself.", "store:store"),
    LateCommand("catalog", "Reference catalogues kept on this machine.", "sky:catalog"),
    LateCommand("index", "astrometry.net index files.", "sky:index"),
    LateCommand("targets", "What you care for, fixed or moving.", "sky:targets"),
)


class _Commands(TyperGroup):
    """The group of them all."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for command in COMMANDS:
            self.add_command(command)


app = typer.Typer(
    cls=_Commands,
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
    """Hold the options of the program itself, and set up what every command needs."""
    stay_offline()
    # It tells of every connection that no migration is due.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    if logging.lastResort is not None:  # what commands without a log of their own warn of
        logging.lastResort.setFormatter(LogLines())
