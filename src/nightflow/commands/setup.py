"""`init`: a folder to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nightflow.commands.common import console, fail
from nightflow.config import DEFAULT_FILE, load_settings
from nightflow.shown_url import shown_url
from nightflow.store.database import Database

__all__ = ["SETTINGS_TEXT", "init"]

SETTINGS_TEXT = """\
# Settings of nightflow. Every key has a default; paths are relative to this file.
# An environment variable NIGHTFLOW_<SECTION>__<KEY> wins over a key here.

[store]
# postgresql+psycopg://user@host/database for Postgres
url = "sqlite:///nightflow.sqlite"

[paths]
masters = "masters"
products = "products"
catalogs = "catalogs"
index_files = "index-files"
cameras = "cameras"          # camera profiles of your own

[run]
missing_calibration = "warn" # or "hold"
products = true              # false: no reduced frames and thumbnails, only rows of the store

[watch]
folders = ["incoming"]
missing_calibration = "hold" # or "warn"
workers = 1                  # exposures reduced at the same time
products = true              # as for [run]

[prefect]
enabled = true
api_url = ""                 # empty: PREFECT_API_URL of the environment

# Where the telescope stands, for when it is night; frames go by their headers or the camera's profile.
# [site]
# latitude = 34.2247         # degrees, WGS84
# longitude = -118.0572      # positive towards east
# height = 1742.0            # metres

# Who is told of failed frames, no frames, falls of the zero point, full disks; try it: `nightflow notify`.
# [notify]
# command = ["mail", "-s", "nightflow", "you@example.org"]  # gets the message on standard input
# again_minutes = 30.0       # the same kind of event is told again after so long
# no_frame_minutes = 20.0    # without a frame while it is dark at [site]
# zero_point_fall = 0.5      # magnitudes
# room_gib = 5.0             # free space below which it is told
# An address that gets {"event": ..., "text": ...}: NIGHTFLOW_NOTIFY__WEBHOOK in the environment.
"""


def init(
    folder: Annotated[Path, typer.Argument(help="Folder to make; settings, store and products live in it.")],
) -> None:
    """Write DIR/nightflow.toml and an SQLite store; ask nothing."""
    file = folder / DEFAULT_FILE
    if file.exists():
        fail(f"{file} is there already; remove it, or choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(SETTINGS_TEXT)
    settings = load_settings(file)
    for path in (*settings.watch.folders, settings.paths.cameras):
        settings.resolve(path).mkdir(parents=True, exist_ok=True)
    with Database(settings.store_url) as database:
        database.upgrade()
    console.print(f"settings  {file}\nstore     {shown_url(settings.store_url)}", soft_wrap=True)
    console.print(f"\nnext: export NIGHTFLOW_CONFIG={file.resolve()}", soft_wrap=True)
