"""Reference catalogues kept on this machine, asked by cone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from nightflow.catalogs.stars import ReferenceStars
from nightflow.catalogs.tiles import Metadata, metadata_file, read_metadata, read_tile, tiles_in_cone
from nightflow.errors import ConfigurationError

__all__ = ["LocalCatalogs", "separation"]

_Key = tuple[str, str, int]


def separation(
    ra: NDArray[np.float64], dec: NDArray[np.float64], ra0: float, dec0: float
) -> NDArray[np.float64]:
    """Return the great-circle distance to (ra0, dec0), all in degrees, by the haversine formula."""
    d_ra, d_dec = np.radians(ra - ra0), np.radians(dec - dec0)
    haversine = (
        np.sin(d_dec / 2) ** 2 + np.cos(np.radians(dec)) * np.cos(np.radians(dec0)) * np.sin(d_ra / 2) ** 2
    )
    return np.degrees(2.0 * np.arcsin(np.sqrt(np.clip(haversine, 0.0, 1.0))))


class LocalCatalogs:
    """The catalogues imported into one folder.

    Tiles stay in memory once read, the least recently used leave first. Safe for threads.

    Parameters
    ----------
    folder : Path
        As given to `nightflow.catalogs.importer.import_catalog`; need not exist.
    cached_tiles : int
        Tiles kept in memory.
    """

    def __init__(self, folder: Path, *, cached_tiles: int = 256) -> None:
        self.folder = folder
        self._limit = cached_tiles
        self._tiles: OrderedDict[_Key, ReferenceStars] = OrderedDict()
        self._metadata: dict[str, tuple[tuple[int, int], Metadata]] = {}
        self._lock = Lock()

    def names(self) -> list[str]:
        """Return the names of the catalogues, sorted."""
        return sorted(path.parent.name for path in self.folder.glob("*/catalog.json"))

    def metadata(self, name: str) -> Metadata:
        """Return the metadata of a catalogue.

        Raises
        ------
        ConfigurationError
            No such catalogue.
        """
        file = metadata_file(self.folder, name)
        stamp = (file.stat().st_mtime_ns, file.stat().st_ino) if file.is_file() else (0, 0)
        with self._lock:
            known = self._metadata.get(name)
        if known is not None and known[0] == stamp:
            return known[1]
        metadata = read_metadata(self.folder, name)
        with self._lock:
            self._metadata[name] = (stamp, metadata)
        return metadata

    def cone(
        self, name: str, ra: float, dec: float, radius_deg: float, *, limit_mag: float | None = None
    ) -> ReferenceStars:
        """Return the stars within ``radius_deg`` of (ra, dec), brightest first.

        Parameters
        ----------
        name : str
            Catalogue.
        ra, dec, radius_deg : float
            ICRS degrees, at the catalogue's epoch.
        limit_mag : float, optional
            Stars fainter than this in their first known band, or of unknown brightness, are left out.

        Returns
        -------
        ReferenceStars
            May be empty.

        Raises
        ------
        ConfigurationError
            No such catalogue.
        """
        stars = self._candidates(name, ra % 360.0, dec, radius_deg)
        inside = separation(stars.ra, stars.dec, ra, dec) <= radius_deg
        if limit_mag is not None:
            inside &= stars.brightness() <= limit_mag
        stars = stars.take(inside)
        return stars.take(np.argsort(stars.brightness(), kind="stable"))

    def covering(self, ra: float, dec: float, radius_deg: float, preferred: Sequence[str] = ()) -> list[str]:
        """Return the catalogues with stars in a cone: preferred in their order, then richest first."""
        counts = {name: len(self.cone(name, ra, dec, radius_deg)) for name in self.names()}
        first = [name for name in dict.fromkeys(preferred) if counts.get(name)]
        rest = [name for name, count in counts.items() if count and name not in first]
        return first + sorted(rest, key=lambda name: (-counts[name], name))

    def _candidates(self, name: str, ra: float, dec: float, radius_deg: float) -> ReferenceStars:
        """Return the stars of all tiles a cone touches; again if the catalogue is replaced meanwhile."""
        wanted = tiles_in_cone(ra, dec, radius_deg)
        for _ in range(3):
            metadata = self.metadata(name)
            present = np.intersect1d(wanted, np.array(metadata.tiles, np.int64))
            try:
                return _join([self._tile(metadata, int(tile)) for tile in present], metadata)
            except FileNotFoundError:
                continue
        raise ConfigurationError(f"catalogue {name!r} in {self.folder}: tiles are missing; import it again")

    def _tile(self, metadata: Metadata, tile: int) -> ReferenceStars:
        key = (metadata.name, metadata.generation, tile)
        with self._lock:
            if key in self._tiles:
                self._tiles.move_to_end(key)
                return self._tiles[key]
        stars = read_tile(self.folder, metadata, tile)
        with self._lock:
            self._tiles[key] = stars
            while len(self._tiles) > self._limit:
                self._tiles.popitem(last=False)
        return stars


def _join(tiles: Sequence[ReferenceStars], metadata: Metadata) -> ReferenceStars:
    def joined(arrays: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        return np.concatenate(arrays) if arrays else np.empty(0)

    with_errors = [band for band in metadata.bands if any(band in tile.mag_errs for tile in tiles)]
    return ReferenceStars(
        catalog=metadata.name,
        ra=joined([tile.ra for tile in tiles]),
        dec=joined([tile.dec for tile in tiles]),
        pmra=joined([tile.pmra for tile in tiles]),
        pmdec=joined([tile.pmdec for tile in tiles]),
        epoch=metadata.epoch,
        ids=np.concatenate([tile.ids for tile in tiles]) if tiles else np.empty(0, dtype=np.str_),
        mags={band: joined([tile.mags[band] for tile in tiles]) for band in metadata.bands},
        mag_errs={
            band: joined([tile.mag_errs.get(band, np.full(len(tile), np.nan)) for tile in tiles])
            for band in with_errors
        },
    )
