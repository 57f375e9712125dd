"""The ways to a service: TAP, VizieR and SkyServer, each through astroquery, each answer checked to be whole.

A service that cuts its answer says so in the VOTable (INFO with QUERY_STATUS = OVERFLOW, DALI 1.1, section
4.4.1), or sends as many rows as were asked for at most. Both are half an answer, and none of it may count as
the sky.
"""

from __future__ import annotations

import gzip
import io
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import votable
from astropy.table import Table

from nightflow.catalogs.cone import Cone

__all__ = [
    "HalfAnswerError",
    "Query",
    "Route",
    "Source",
    "query_skyserver",
    "query_tap",
    "query_vizier",
]

Query = Callable[[Cone], Table]
"""Asks one service; raises whatever its client raises."""

_CLIENT_SECONDS = 120.0
_GZIP = b"\x1f\x8b"


class HalfAnswerError(RuntimeError):
    """A service sent a part of what it has."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A table of a service.

    Attributes
    ----------
    table : str
        Its name there.
    columns : mapping of str to str
        Theirs -> ours; ``ra`` and ``dec`` are among ours.
    limit : str
        Their column whose magnitude is limited.
    condition : str
        Further condition in the service's own words; "" for none.
    row_cap : int
        Most rows of one answer.
    """

    table: str
    columns: Mapping[str, str]
    limit: str
    condition: str = ""
    row_cap: int = 3_000_000


@dataclass(frozen=True, kw_only=True)
class Route:
    """One way to a catalogue.

    Attributes
    ----------
    query : callable
        (cone) -> table with our column names.
    tile_radius : float
        Degrees; the largest cone that it is asked for.
    """

    query: Query
    tile_radius: float = 1.5


def query_tap(cone: Cone, url: str, source: Source) -> Table:
    """Ask a TAP service, through astroquery.

    By an asynchronous job: archives cut the answers of the other kind after some thousand rows.

    Raises
    ------
    HalfAnswerError
        The answer was cut.
    """
    from astroquery.utils.tap import TapPlus  # brings half of astroquery along

    ra, dec = _column_of(source, "ra"), _column_of(source, "dec")
    circle = f"CIRCLE('ICRS', {cone.ra!r}, {cone.dec!r}, {cone.radius!r})"
    # Constants of this package and four numbers: nothing of anybody's text is in it.
    query = (
        f"SELECT TOP {source.row_cap} {', '.join(map(_quoted, source.columns))} FROM {source.table} "  # noqa: S608
        f"WHERE 1 = CONTAINS(POINT('ICRS', {_quoted(ra)}, {_quoted(dec)}), {circle}) "
        f"AND {_quoted(source.limit)} < {cone.limit_mag!r}"
    )
    if source.condition:
        query += f" AND {source.condition}"
    with tempfile.TemporaryDirectory(prefix="nightflow-tap-") as folder:
        file = Path(folder) / "answer.vot"
        # By a file: the table that the client makes of an answer does not tell whether it was cut.
        job = TapPlus(url=url).launch_job_async(
            query, dump_to_file=True, output_file=str(file), format_with_results_compressed=()
        )
        if not file.is_file():
            raise RuntimeError(f"the job ended as {job.get_phase()}, without an answer")
        content = file.read_bytes()
    plain = gzip.decompress(content) if content.startswith(_GZIP) else content
    return _renamed(_whole(plain, source.row_cap), source)


def query_vizier(cone: Cone, source: Source) -> Table:
    """Ask VizieR (astroquery).

    Raises
    ------
    HalfAnswerError
        The answer was cut.
    """
    from astroquery.vizier import Vizier

    service = Vizier(columns=list(source.columns), row_limit=source.row_cap, timeout=_CLIENT_SECONDS)
    filters = {source.limit: f"<{cone.limit_mag!r}"}
    filters |= dict(part.split("=", 1) for part in source.condition.split(",") if part)
    answer = service.query_region_async(
        SkyCoord(cone.ra, cone.dec, unit="deg"),
        radius=cone.radius * u.deg,
        catalog=source.table,
        column_filters=filters,
        cache=False,
    )
    answer.raise_for_status()
    return _renamed(_whole(answer.content, source.row_cap), source)


def query_skyserver(cone: Cone, source: Source, data_release: int = 17) -> Table:
    """Ask SDSS's SkyServer by SQL (astroquery); cones of more than 3' it refuses."""
    from astroquery.sdss import SDSS

    # Constants of this package and four numbers: nothing of anybody's text is in it.
    sql = (
        f"SELECT TOP {source.row_cap} {', '.join(f'p.{one}' for one in source.columns)} "  # noqa: S608
        f"FROM {source.table} AS p JOIN dbo.fGetNearbyObjEq({cone.ra!r}, {cone.dec!r}, "
        f"{60.0 * cone.radius!r}) AS n ON p.objID = n.objID "
        f"WHERE p.{source.limit} < {cone.limit_mag!r}"
    )
    if source.condition:
        sql += f" AND {source.condition}"
    answer = SDSS.query_sql_async(sql, timeout=_CLIENT_SECONDS, data_release=data_release, cache=False)
    answer.raise_for_status()
    # The first line names the table; a page in HTML is an excuse.
    lines = answer.text.splitlines()
    if not lines or not lines[0].startswith("#Table"):
        raise RuntimeError(f"no table but {answer.text[:100]!r}")
    table = Table.read(lines[1:], format="ascii.csv")
    _refuse_cap(len(table), source.row_cap)
    return _renamed(table, source)


def _whole(content: bytes, row_cap: int) -> Table:
    """Return the first table of a VOTable that holds all that was asked for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # units and UCDs that astropy does not know
        file = votable.parse(io.BytesIO(content))
    for info in _infos(file):
        status = (str(info.name or "").upper(), str(info.value or "").upper())
        if status == ("QUERY_STATUS", "OVERFLOW") or "TRUNCATED" in status[1]:
            raise HalfAnswerError(f"half an answer: {info.name} = {info.value} {info.content or ''}".strip())
        if status[0] in ("QUERY_STATUS", "ERROR") and (status[1] == "ERROR" or status[0] == "ERROR"):
            raise RuntimeError(f"the service says: {(info.content or info.value)!s:.200}")
    table = next(iter(file.iter_tables()), None)
    if table is None:
        return Table()
    rows = table.to_table(use_names_over_ids=True)
    _refuse_cap(len(rows), row_cap)
    return rows


def _infos(file: votable.tree.VOTableFile) -> Sequence[votable.tree.Info]:
    tables = [info for table in file.iter_tables() for info in table.infos]
    return [*file.infos, *(info for resource in file.resources for info in resource.infos), *tables]


def _refuse_cap(rows: int, row_cap: int) -> None:
    if rows >= row_cap:
        raise HalfAnswerError(f"half an answer: {rows} rows, as many as are sent at most")


def _renamed(table: Table, source: Source) -> Table:
    """Return the columns that we know under our names; services write a prime as they please."""
    found = {_plain(name): name for name in table.colnames}
    chosen = {
        ours: found[_plain(theirs)] for theirs, ours in source.columns.items() if _plain(theirs) in found
    }
    return Table({ours: table[name] for ours, name in chosen.items()})


def _plain(name: str) -> str:
    return name.replace("'", "_").casefold()


def _column_of(source: Source, ours: str) -> str:
    return next(theirs for theirs, name in source.columns.items() if name == ours)


def _quoted(column: str) -> str:
    return column if column.replace("_", "").isalnum() else f'"{column}"'
