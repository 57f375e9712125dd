"""Catalogues on disk: HEALPix tiles in Parquet, one folder a catalogue.

Layout below the catalogues' folder::

    NAME/catalog.json                     metadata; names the generation that is current
    NAME/<generation>/Npix=<pixel>.parquet

A tile is one nested HEALPix pixel of order `ORDER` (Górski et al. 2005). A new import writes a new
generation beside the old one and then replaces ``catalog.json`` in one rename, so that a reader sees
either the old catalogue or the new one.
"""

from __future__ import annotations

import json
import re
import shutil
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy import units as u
from astropy_healpix import HEALPix
from numpy.typing import NDArray

from nightflow.catalogs.stars import BANDS, ReferenceStars
from nightflow.errors import ConfigurationError

__all__ = [
    "ORDER",
    "Metadata",
    "metadata_file",
    "read_metadata",
    "read_tile",
    "tiles_in_cone",
    "validate_name",
    "write_catalog",
]

ORDER = 5
"""12,288 tiles of 1.8 degrees: 150 Tycho-2 stars each, some 10^5 of Gaia's at most."""

_METADATA = "catalog.json"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_HEALPIX = HEALPix(nside=2**ORDER, order="nested")


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What is known of a catalogue as a whole.

    Attributes
    ----------
    name : str
        Name under which it was imported.
    epoch : float
        Julian year of the positions.
    bands : list of str
        Bands that at least one star has.
    n_stars : int
        Stars kept.
    source : str
        Name of the file it came from.
    created : str
        UTC, ISO 8601.
    generation : str
        Folder of the tiles.
    tiles : list of int
        Nested pixels of order `ORDER` that hold stars.
    """

    name: str
    epoch: float
    bands: list[str]
    n_stars: int
    source: str
    created: str
    generation: str
    tiles: list[int]


def validate_name(name: str) -> str:
    """Return ``name`` if it may be a folder's name.

    Raises
    ------
    ConfigurationError
        It holds anything but lower-case letters, digits, ``-`` and ``_``, or starts with one of the last two.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"catalogue name {name!r}: use lower-case letters, digits, '-' and '_'; "
            "the first must be a letter or a digit"
        )
    return name


def tiles_in_cone(ra: float, dec: float, radius_deg: float) -> NDArray[np.int64]:
    """Return the tiles that a cone may touch (degrees)."""
    if radius_deg >= 90.0:
        return np.arange(_HEALPIX.npix)
    # a tile is found by overlap; the margin covers the rounding at its corners
    found = _HEALPIX.cone_search_lonlat(ra * u.deg, dec * u.deg, (radius_deg + 0.01) * u.deg)
    return np.asarray(found, np.int64)


def write_catalog(folder: Path, stars: ReferenceStars, *, source: str, created: str) -> Metadata:
    """Write ``stars`` as catalogue ``stars.catalog`` below ``folder``, in place of an older one.

    Returns
    -------
    Metadata
        What was written.
    """
    home = folder / validate_name(stars.catalog)
    generation = uuid.uuid4().hex
    (home / generation).mkdir(parents=True)
    try:
        tiles = _write_tiles(home / generation, stars)
    except BaseException:
        shutil.rmtree(home / generation)
        raise
    metadata = Metadata(
        name=stars.catalog,
        epoch=stars.epoch,
        bands=[band for band in BANDS if band in stars.mags],
        n_stars=len(stars),
        source=source,
        created=created,
        generation=generation,
        tiles=tiles,
    )
    _publish(home, metadata)
    return metadata


def metadata_file(folder: Path, name: str) -> Path:
    """Return where the metadata of catalogue ``name`` stand."""
    return folder / validate_name(name) / _METADATA


def read_metadata(folder: Path, name: str) -> Metadata:
    """Return the metadata of catalogue ``name``.

    Raises
    ------
    ConfigurationError
        No such catalogue, or its metadata file is damaged.
    """
    file = metadata_file(folder, name)
    try:
        return Metadata(**json.loads(file.read_text()))
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"no catalogue {name!r} in {folder}; "
            f"import one with `nightflow catalog import FILE --name {name}`"
        ) from error
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"{file}: damaged ({error}); import the catalogue again") from error


def read_tile(folder: Path, metadata: Metadata, tile: int) -> ReferenceStars:
    """Return the stars of one tile.

    Raises
    ------
    FileNotFoundError
        The catalogue was replaced since ``metadata`` was read.
    """
    table = pq.read_table(_tile_path(folder / metadata.name / metadata.generation, tile))

    def numbers(column: str) -> NDArray[np.float64]:
        return table[column].to_numpy().astype(np.float64)

    errors = {name.removesuffix("_err") for name in table.column_names if name.endswith("_err")}
    return ReferenceStars(
        catalog=metadata.name,
        ra=numbers("ra"),
        dec=numbers("dec"),
        pmra=numbers("pmra"),
        pmdec=numbers("pmdec"),
        epoch=metadata.epoch,
        ids=np.asarray(table["id"].to_pylist(), dtype=np.str_),
        mags={band: numbers(band) for band in metadata.bands},
        mag_errs={band: numbers(f"{band}_err") for band in metadata.bands if band in errors},
    )


def _tile_path(folder: Path, tile: int) -> Path:
    return folder / f"Npix={tile}.parquet"


def _to_arrow(stars: ReferenceStars) -> pa.Table:
    columns = {
        "ra": stars.ra,
        "dec": stars.dec,
        "pmra": stars.pmra,
        "pmdec": stars.pmdec,
        "id": stars.ids.tolist(),
    }
    columns |= {band: np.asarray(values, np.float32) for band, values in stars.mags.items()}
    columns |= {f"{band}_err": np.asarray(values, np.float32) for band, values in stars.mag_errs.items()}
    return pa.table(columns)


def _write_tiles(folder: Path, stars: ReferenceStars) -> list[int]:
    pixels = np.asarray(_HEALPIX.lonlat_to_healpix(stars.ra * u.deg, stars.dec * u.deg))
    order = np.argsort(pixels, kind="stable")
    tiles, starts = np.unique(pixels[order], return_index=True)
    for tile, rows in zip(tiles, np.split(order, starts[1:]), strict=True):
        pq.write_table(_to_arrow(stars.take(rows)), _tile_path(folder, int(tile)))
    return [int(tile) for tile in tiles]


def _publish(home: Path, metadata: Metadata) -> None:
    """Make ``metadata`` the current one and remove the generation it replaces."""
    current = home / _METADATA
    replaced = json.loads(current.read_text())["generation"] if current.is_file() else None
    temporary = home / f".{metadata.generation}.json"
    temporary.write_text(json.dumps(asdict(metadata), indent=1))
    temporary.replace(current)
    if replaced and re.fullmatch(r"[0-9a-f]{32}", replaced):
        shutil.rmtree(home / replaced, ignore_errors=True)
