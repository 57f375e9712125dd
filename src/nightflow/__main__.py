"""`python -m nightflow` is the command."""

from nightflow.cli import app

app()
