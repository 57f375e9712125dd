"""Commands whose module is imported when they are called: help and typing errors wait for no imports."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand
from typer.main import get_group

__all__ = ["LateCommand"]


class LateCommand(TyperCommand):
    """A command, or a group of them, of which only name and help are here.

    Parameters
    ----------
    name : str
        What a person types.
    help : str
        The first line of the command's own help.
    where : str
        ``module:attribute`` below `nightflow.commands`; a function, or a ``Typer`` with commands of its own.
    epilog : str, optional
        Attribute of the module whose text stands below the help.
    """

    def __init__(self, name: str, help: str, where: str, *, epilog: str | None = None) -> None:
        super().__init__(name, help=help, rich_markup_mode="rich")
        self._name, self._where, self._epilog = name, where, epilog

    def load(self) -> Any:
        """Import the module; return the command itself."""
        module, _, attribute = self._where.partition(":")
        imported = import_module(f"nightflow.commands.{module}")
        found = getattr(imported, attribute)
        alone = typer.Typer()
        if isinstance(found, typer.Typer):
            alone.add_typer(found, name=self._name)
        else:
            epilog = getattr(imported, self._epilog) if self._epilog else None
            alone.command(self._name, epilog=epilog)(found)
        return get_group(alone).commands[self._name]

    def make_context(self, *arguments: Any, **named: Any) -> Any:
        """Let the command itself read its arguments; whoever called runs the context's command."""
        return self.load().make_context(*arguments, **named)
