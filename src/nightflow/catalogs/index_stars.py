"""The stars inside an astrometry.net index file: Debian's Tycho-2 packages hold a whole catalogue.

An index keeps its stars as unit vectors in a kd-tree, scaled to integers (Lang et al. 2010, AJ 139, 1782; the
layout is that of ``libkd`` as of astrometry.net 0.93): ``kdtree_data_stars`` in the byte order that ENDIAN
names, ``kdtree_range_stars`` with lower bounds, upper bounds and scale, and the catalogue's own columns
("tag-along") as ordinary FITS columns in the order of the stars.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table, vstack
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from nightflow.astrometry.index_file import describe_index
from nightflow.errors import ConfigurationError, NightflowError
from nightflow.sphere import unit_vectors

__all__ = ["is_index", "read_index_folder", "read_index_stars"]

_TYPES = {"u16": "u2", "u32": "u4", "double": "f8", "float": "f4", "f64": "f8", "f32": "f4"}
_LITTLE_ENDIAN = "04:03:02:01"
_SAME_STAR = np.radians(0.2 / 3600.0)
"""Stars of two index files of one series: their scaled positions agree to 0.0001"."""
_TREE_TABLES = ("kdtree_", "quads", "sweep")


def is_index(path: Path) -> bool:
    """Return whether a file is an astrometry.net index."""
    try:
        describe_index(path)
    except NightflowError:
        return False
    return True


def read_index_stars(path: Path) -> Table:
    """Return the stars of an index file.

    Returns
    -------
    astropy.table.Table
        ``ra``, ``dec`` (ICRS degrees; the index keeps no epoch), and the catalogue's own columns under
        their names, such as ``MAG_VT``.

    Raises
    ------
    ConfigurationError
        The file is no index, is cut off, or its kd-tree is of a kind that is not known.
    """
    try:
        described = describe_index(path)
        with fits.open(path, memmap=True) as hdus:
            positions = _positions(path, hdus, described.n_stars)
            table = Table({"ra": positions[0], "dec": positions[1]})
            order = _permutation(path, hdus)
            for name, values in _tagged(hdus, described.n_stars):
                table[name] = values if order is None else values[order]
    except (NightflowError, OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{path}: the stars of this index cannot be read: {error}") from error
    return table


def read_index_folder(folder: Path) -> Table:
    """Return the stars of all index files of a folder, each star once.

    The richest file comes first; of the others those stars are added that it lacks.

    Raises
    ------
    ConfigurationError
        There is no index file in the folder, or one cannot be read.
    """
    tables = [read_index_stars(file) for file in sorted(folder.glob("*.fits")) if is_index(file)]
    if not tables:
        raise ConfigurationError(f"{folder}: no astrometry.net index file in this folder (*.fits)")
    tables.sort(key=len, reverse=True)
    union = tables[0]
    for table in tables[1:]:
        new = unit_vectors(table["ra"], table["dec"])
        distance, _ = cKDTree(unit_vectors(union["ra"], union["dec"])).query(
            new, distance_upper_bound=_SAME_STAR
        )
        union = vstack([union, table[~np.isfinite(distance)]], join_type="outer")
    return union


def _positions(
    path: Path, hdus: fits.HDUList, n_stars: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    header = _tree_header(hdus)
    kind = str(header["KDT_DATA"]).strip()
    if kind not in _TYPES or header["KDT_NDIM"] != 3 or header["KDT_NDAT"] != n_stars:
        raise ValueError(f"kd-tree of {header['KDT_NDAT']} x {header['KDT_NDIM']} {kind!r}")
    order = "<" if str(hdus[0].header.get("ENDIAN", "")).strip() == _LITTLE_ENDIAN else ">"
    scaled = _raw(path, hdus, "kdtree_data_stars", order + _TYPES[kind]).reshape(n_stars, 3)
    vectors = scaled.astype(np.float64)
    if kind.startswith("u"):
        span = _raw(path, hdus, "kdtree_range_stars", order + "f8")
        vectors = span[:3] + vectors / span[6]
    length = np.sqrt(np.sum(vectors**2, axis=1))
    if not np.all(np.abs(length - 1.0) < 1e-3):
        raise ValueError("its positions are no unit vectors; is ENDIAN right?")
    x, y, z = (vectors / length[:, np.newaxis]).T
    return np.degrees(np.arctan2(y, x)) % 360.0, np.degrees(np.arcsin(np.clip(z, -1.0, 1.0)))


def _tree_header(hdus: fits.HDUList) -> fits.Header:
    for hdu in hdus[1:]:
        if str(hdu.header.get("KDT_NAME", "")).strip() == "stars":
            return hdu.header
    raise ValueError("no kd-tree named stars (KDT_NAME)")


def _permutation(path: Path, hdus: fits.HDUList) -> NDArray[np.int64] | None:
    """Return which star each point of the tree is; None where both are in one order, as published."""
    if _holder(hdus, "kdtree_perm_stars") is None:
        return None
    order = "<" if str(hdus[0].header.get("ENDIAN", "")).strip() == _LITTLE_ENDIAN else ">"
    return _raw(path, hdus, "kdtree_perm_stars", order + "u4").astype(np.int64)


def _raw(path: Path, hdus: fits.HDUList, name: str, dtype: str) -> NDArray[np.generic]:
    """Return a column's bytes as numbers; FITS calls them text, whose zeros at the end astropy would drop."""
    hdu = _holder(hdus, name)
    if hdu is None:
        raise ValueError(f"no table {name}")
    size = int(hdu.header["NAXIS1"]) * int(hdu.header["NAXIS2"])
    start = int(hdu.fileinfo()["datLoc"])
    return np.fromfile(path, np.uint8, count=size, offset=start).view(np.dtype(dtype))


def _holder(hdus: fits.HDUList, name: str) -> fits.BinTableHDU | None:
    return next((hdu for hdu in hdus[1:] if hdu.columns.names[:1] == [name]), None)


def _tagged(hdus: fits.HDUList, n_stars: int) -> list[tuple[str, NDArray[np.generic]]]:
    """Return the catalogue's own columns: those with a value for each star."""
    found = []
    for hdu in hdus[1:]:
        if hdu.header["NAXIS2"] != n_stars or hdu.columns.names[0].startswith(_TREE_TABLES):
            continue
        for name in hdu.columns.names:
            if name.lower() not in ("ra", "dec"):
                values = np.asarray(hdu.data[name])
                found.append((name, values.astype(values.dtype.newbyteorder("="))))
    return found
