"""`serve`: the dashboard."""

from __future__ import annotations

from typing import Annotated

import typer

from nightflow.commands.common import ConfigOption, console, note, open_store
from nightflow.web.server import DashboardServer, is_loopback

__all__ = ["serve"]


def serve(
    host: Annotated[
        str, typer.Option(help="Where to listen; the default is this machine only.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: any that is free.", min=0, max=65535)] = 8750,
    config: ConfigOption = None,
) -> None:
    """Show what goes on as a page in the browser, until told to stop (Ctrl-C); it only reads."""
    with open_store(config) as (settings, database):
        products = settings.resolve(settings.paths.products)
        with DashboardServer(host, port, database, products) as server:
            if not is_loopback(host):
                note(f"warning: {host} may be reached by others, and the page asks for no password")
            address = f"[{host}]" if ":" in host else host
            console.print(f"http://{address}:{server.server_port}/  (Ctrl-C ends it)", soft_wrap=True)
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                return
