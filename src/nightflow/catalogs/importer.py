"""Import a catalogue file into the local tiles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from nightflow.catalogs.columns import known_columns
from nightflow.catalogs.readers import number_column, read_table, text_column
from nightflow.catalogs.stars import BANDS, ReferenceStars
from nightflow.catalogs.tiles import validate_name, write_catalog
from nightflow.errors import ConfigurationError

__all__ = ["ImportReport", "import_catalog", "stars_of_table"]

GAIA_EPOCH = 2016.0
"""Reference epoch of Gaia DR3 (Gaia Collaboration 2023)."""
DEFAULT_EPOCH = 2000.0

_MAGNITUDE_RANGE = (-30.0, 50.0)
_LIKE_MAGNITUDES = 3.0


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """What an import did.

    Attributes
    ----------
    name : str
        Catalogue.
    n_read, n_stars, n_bad : int
        Rows in the file, stars kept, rows left out because their position is missing or impossible.
    bands : tuple of str
        Bands found.
    epoch : float
        Julian year of the positions.
    n_tiles : int
        HEALPix tiles written.
    warnings : tuple of str
        What was assumed or left out.
    """

    name: str
    n_read: int
    n_stars: int
    n_bad: int
    bands: tuple[str, ...]
    epoch: float
    n_tiles: int
    warnings: tuple[str, ...] = ()


def import_catalog(file: Path, name: str, folder: Path) -> ImportReport:
    """Import ``file`` as catalogue ``name`` into ``folder``; an older one of that name is replaced.

    Parameters
    ----------
    file : Path
        CSV, ECSV, VOTable or FITS with Gaia's column names or plain ones: ra, dec (degrees), any band of
        `nightflow.catalogs.stars.BANDS` and its ``_err``, pmra, pmdec (mas/yr), epoch, name. Or an index
        file of astrometry.net, or a folder of such, whose stars are taken.
    name : str
        Lower-case letters, digits, ``-`` and ``_``.
    folder : Path
        Folder of the local catalogues.

    Returns
    -------
    ImportReport
        Counts, bands, and what was assumed.

    Raises
    ------
    ConfigurationError
        The name may not be a folder's name, the file does not read, has no ra and dec, or no usable row.
    """
    validate_name(name)
    table = read_table(file)
    stars, n_bad, warnings = stars_of_table(table, name, str(file))
    if not stars.mags:
        warnings.append(
            "no column is a magnitude of a known band: the catalogue can solve a WCS, but no zero point; it "
            f"has {', '.join(map(str, table.colnames))}"
        )
    metadata = write_catalog(
        folder,
        stars,
        source=file.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return ImportReport(
        name=name,
        n_read=len(table),
        n_stars=metadata.n_stars,
        n_bad=n_bad,
        bands=tuple(metadata.bands),
        epoch=metadata.epoch,
        n_tiles=len(metadata.tiles),
        warnings=tuple(warnings),
    )


def stars_of_table(table: Table, name: str, where: str) -> tuple[ReferenceStars, int, list[str]]:
    """Return the stars of a table, how many rows are left out, and what was assumed.

    Parameters
    ----------
    table : astropy.table.Table
        With column names that `nightflow.catalogs.columns` knows.
    name : str
        Of the catalogue.
    where : str
        Where the table comes from, for the messages.

    Raises
    ------
    ConfigurationError
        It has no ra and dec, or no usable row.
    """
    columns = known_columns(table.colnames)
    missing = [key for key in ("ra", "dec") if key not in columns]
    if missing:
        present = ", ".join(map(str, table.colnames)) or "no column at all"
        raise ConfigurationError(f"{where}: no column for {' and '.join(missing)}; it has {present}")
    stars, warnings = _to_stars(table, columns, name)
    good = _usable(stars)
    if not good.any():
        raise ConfigurationError(f"{where}: none of {len(table)} rows has a usable ra and dec in degrees")
    n_bad = int(len(stars) - good.sum())
    if n_bad:
        warnings.append(f"{n_bad} of {len(table)} rows have no usable position and were left out")
    return stars.take(good), n_bad, warnings


def _to_stars(table: Table, columns: dict[str, str], name: str) -> tuple[ReferenceStars, list[str]]:
    warnings: list[str] = []
    ra = number_column(table, columns["ra"], "deg")
    mags = {band: _magnitudes(table, columns[band]) for band in BANDS if band in columns}
    motions, doubts = _proper_motions(table, columns, mags)
    warnings += doubts
    epochs, assumed = _epochs(table, columns)
    warnings += assumed
    epoch = float(np.median(epochs))
    stars = ReferenceStars(
        catalog=name,
        ra=np.where((ra >= -360.0) & (ra <= 720.0), ra % 360.0, np.nan),
        dec=number_column(table, columns["dec"], "deg"),
        pmra=motions[0],
        pmdec=motions[1],
        epoch=epoch,
        ids=text_column(table, columns["id"]) if "id" in columns else np.full(len(table), "", dtype=np.str_),
        mags={band: values for band, values in mags.items() if np.isfinite(values).any()},
        mag_errs={
            band: number_column(table, columns[f"{band}_err"])
            for band, values in mags.items()
            if f"{band}_err" in columns and np.isfinite(values).any()
        },
    )
    return _to_one_epoch(stars, epochs), warnings


def _usable(stars: ReferenceStars) -> NDArray[np.bool_]:
    return np.isfinite(stars.ra) & np.isfinite(stars.dec) & (np.abs(stars.dec) <= 90.0)


def _magnitudes(table: Table, column: str) -> NDArray[np.float64]:
    values = number_column(table, column)
    low, high = _MAGNITUDE_RANGE
    # 99.9, -99 and the like stand for "not measured" in many catalogues
    return np.where((values > low) & (values < high), values, np.nan)


def _proper_motions(
    table: Table, columns: dict[str, str], mags: dict[str, NDArray[np.float64]]
) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], list[str]]:
    nothing = np.zeros(len(table))
    if "pmra" not in columns or "pmdec" not in columns:
        return (nothing, nothing), []
    pmra = number_column(table, columns["pmra"], "mas / yr")
    pmdec = number_column(table, columns["pmdec"], "mas / yr")
    if "G" in mags and _look_like_magnitudes(pmra, pmdec, mags["G"]):
        return (nothing, nothing), [
            "pmra and pmdec follow the G magnitude star by star, as BP and RP would: not used as motions; "
            "rename the columns if they hold magnitudes"
        ]
    known = np.isfinite(pmra) & np.isfinite(pmdec)
    return (np.where(known, pmra, 0.0), np.where(known, pmdec, 0.0)), []


def _look_like_magnitudes(
    pmra: NDArray[np.float64], pmdec: NDArray[np.float64], g: NDArray[np.float64]
) -> bool:
    """Tell mislabelled BP and RP columns: real motions of several stars never all lie near G."""
    both = np.isfinite(pmra) & np.isfinite(pmdec) & np.isfinite(g)
    if both.sum() < 4:
        return False
    near = (np.abs(pmra - g) < _LIKE_MAGNITUDES) & (np.abs(pmdec - g) < _LIKE_MAGNITUDES)
    return bool(near[both].all())


def _epochs(table: Table, columns: dict[str, str]) -> tuple[NDArray[np.float64], list[str]]:
    if "epoch" in columns:
        epochs = number_column(table, columns["epoch"])
        known = np.isfinite(epochs) & (epochs > 1800.0) & (epochs < 2200.0)
        if known.any():
            return np.where(known, epochs, np.median(epochs[known])), []
    is_gaia = any(str(column).lower() == "phot_g_mean_mag" for column in table.colnames)
    epoch = GAIA_EPOCH if is_gaia else DEFAULT_EPOCH
    return np.full(len(table), epoch), [f"no epoch column: positions are taken to be of epoch {epoch}"]


def _to_one_epoch(stars: ReferenceStars, epochs: NDArray[np.float64]) -> ReferenceStars:
    """Move each star from its own epoch to the catalogue's."""
    if np.all(epochs == stars.epoch):
        return stars
    ra, dec = stars.ra.copy(), stars.dec.copy()
    for epoch in np.unique(epochs):
        rows = np.flatnonzero(epochs == epoch)
        moved = replace(stars.take(rows), epoch=float(epoch)).at_epoch(stars.epoch)
        ra[rows], dec[rows] = moved.ra, moved.dec
    return replace(stars, ra=ra, dec=dec)
