"""Catalogues on disk: HEALPix tiles in Parquet, one folder a catalogue.

Layout below the catalogues' folder::

    NAME/catalog.json                     metadata; names the generation that is current
    NAME/<generation>/Npix=<pixel>.parquet
    NAME/<generation>/coverage.json       which sky it holds, where it is fetched piece by piece

A tile is one nested HEALPix pixel of order `ORDER` (Górski et al. 2005). A new import writes a new
generation beside the old one and then replaces ``catalog.json`` in one rename, so that a reader sees
either the old catalogue or the new one. What is merged in is a new generation, too, to which the tiles that
it does not touch are linked.
"""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy import units as u
from astropy_healpix import HEALPix
from numpy.typing import NDArray

from nightflow.catalogs.coverage import Coverage, read_coverage, write_coverage
from nightflow.catalogs.stars import BANDS, ReferenceStars
from nightflow.errors import ConfigurationError

__all__ = [
    "ORDER",
    "Metadata",
    "coverage_of",
    "merge_catalog",
    "metadata_file",
    "read_metadata",
    "read_tile",
    "tiles_in_cone",
    "validate_name",
    "write_catalog",
]

DEFAULT_EPOCH = 2000.0
"""Of a catalogue without a star."""
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


def merge_catalog(
    folder: Path,
    name: str,
    parts: Sequence[ReferenceStars],
    coverage: Coverage,
    *,
    source: str,
    created: str,
) -> tuple[Metadata, int]:
    """Add stars to catalogue ``name``, or make it; a star that is there already is replaced by its new row.

    Stars are one where their ids are, or, without ids, where their places agree to 0.004". One process at a
    time merges into a catalogue; others wait.

    Parameters
    ----------
    folder : Path
        Of the catalogues.
    name : str
    parts : sequence of ReferenceStars
        May be none: then only the coverage is put down.
    coverage : Coverage
        What the catalogue holds with these; joined with what another process has put down meanwhile.
    source, created : str
        As in `Metadata`.

    Returns
    -------
    (Metadata, int)
        What is there now, and how many stars are new.
    """
    home = folder / validate_name(name)
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = metadata_file(folder, name).is_file()
        old = read_metadata(folder, name) if known else None
        before = coverage_of(folder, name) if known else None
        if before is not None:
            coverage = coverage.joined(before)
        return _merged(folder, home, old, parts, coverage, source, created)


def coverage_of(folder: Path, name: str) -> Coverage | None:
    """Return which sky catalogue ``name`` holds; None where it was imported from a file.

    Raises
    ------
    ConfigurationError
        No such catalogue, or damaged metadata.
    """
    return read_coverage(folder / name / read_metadata(folder, name).generation)


def _merged(
    folder: Path,
    home: Path,
    old: Metadata | None,
    parts: Sequence[ReferenceStars],
    coverage: Coverage,
    source: str,
    created: str,
) -> tuple[Metadata, int]:
    epoch = old.epoch if old is not None else parts[0].epoch if parts else DEFAULT_EPOCH
    moved = [part if part.epoch == epoch else part.at_epoch(epoch) for part in parts]
    by_tile: dict[int, list[ReferenceStars]] = {}
    for part in moved:
        for tile, rows in _by_tile(part):
            by_tile.setdefault(tile, []).append(part.take(rows))
    bands = {band for part in moved for band in part.mags} | set(old.bands if old is not None else ())
    generation = uuid.uuid4().hex
    new_home = home / generation
    new_home.mkdir()
    n_new = 0
    try:
        for tile in old.tiles if old is not None else ():
            if old is not None and tile not in by_tile:
                _link(_tile_path(home / old.generation, tile), _tile_path(new_home, tile))
        for tile, added in by_tile.items():
            there = [read_tile(folder, old, tile)] if old is not None and tile in old.tiles else []
            stars = _union([*there, *added])
            n_new += len(stars) - sum(map(len, there))
            pq.write_table(_to_arrow(stars), _tile_path(new_home, tile))
        write_coverage(new_home, coverage)
    except BaseException:
        shutil.rmtree(new_home)
        raise
    metadata = Metadata(
        name=home.name,
        epoch=epoch,
        bands=[band for band in BANDS if band in bands],
        n_stars=n_new + (old.n_stars if old is not None else 0),
        source=source,
        created=created,
        generation=generation,
        tiles=sorted({*by_tile, *(old.tiles if old is not None else ())}),
    )
    _publish(home, metadata)
    return metadata, n_new


def _union(parts: Sequence[ReferenceStars]) -> ReferenceStars:
    """Return the stars of all parts, each once; the last one that has it counts."""
    bands = [band for band in BANDS if any(band in part.mags for part in parts)]
    errors = [band for band in bands if any(band in part.mag_errs for part in parts)]

    def joined(columns: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        return np.concatenate(list(columns))

    stars = replace(
        parts[0],
        ra=joined([part.ra for part in parts]),
        dec=joined([part.dec for part in parts]),
        pmra=joined([part.pmra for part in parts]),
        pmdec=joined([part.pmdec for part in parts]),
        ids=np.concatenate([part.ids for part in parts]),
        mags={
            band: joined([part.mags.get(band, np.full(len(part), np.nan)) for part in parts])
            for band in bands
        },
        mag_errs={
            band: joined([part.mag_errs.get(band, np.full(len(part), np.nan)) for part in parts])
            for band in errors
        },
    )
    places = [f"{ra:.6f} {dec:.6f}" for ra, dec in zip(stars.ra, stars.dec, strict=True)]
    keys = np.where(stars.ids == "", np.asarray(places, np.str_), stars.ids)
    # the last of those that are one star
    _, from_the_end = np.unique(keys[::-1], return_index=True)
    return stars.take(np.sort(len(stars) - 1 - from_the_end))


def _link(old: Path, new: Path) -> None:
    """Let a tile stand in two generations; a file system without links gets a copy."""
    try:
        new.hardlink_to(old)
    except OSError:
        shutil.copy2(old, new)


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

    present = set(table.column_names)
    unknown = np.full(table.num_rows, np.nan)
    # a tile that was written before another one brought a band, or its errors, does not have the column
    errors = {name.removesuffix("_err") for name in present if name.endswith("_err")}
    return ReferenceStars(
        catalog=metadata.name,
        ra=numbers("ra"),
        dec=numbers("dec"),
        pmra=numbers("pmra"),
        pmdec=numbers("pmdec"),
        epoch=metadata.epoch,
        ids=np.asarray(table["id"].to_pylist(), dtype=np.str_),
        mags={band: numbers(band) if band in present else unknown for band in metadata.bands},
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
    tiles = []
    for tile, rows in _by_tile(stars):
        pq.write_table(_to_arrow(stars.take(rows)), _tile_path(folder, tile))
        tiles.append(tile)
    return tiles


def _by_tile(stars: ReferenceStars) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Yield each tile that has stars, with their rows."""
    if not len(stars):
        return
    pixels = np.asarray(_HEALPIX.lonlat_to_healpix(stars.ra * u.deg, stars.dec * u.deg))
    order = np.argsort(pixels, kind="stable")
    tiles, starts = np.unique(pixels[order], return_index=True)
    for tile, rows in zip(tiles, np.split(order, starts[1:]), strict=True):
        yield int(tile), rows


def _publish(home: Path, metadata: Metadata) -> None:
    """Make ``metadata`` the current one and remove the generation it replaces."""
    current = home / _METADATA
    replaced = json.loads(current.read_text())["generation"] if current.is_file() else None
    temporary = home / f".{metadata.generation}.json"
    temporary.write_text(json.dumps(asdict(metadata), indent=1))
    temporary.replace(current)
    if replaced and re.fullmatch(r"[0-9a-f]{32}", replaced):
        shutil.rmtree(home / replaced, ignore_errors=True)
