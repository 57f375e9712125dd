"""The commands."""

import typer

app = typer.Typer(name="nightflow", no_args_is_help=True)
