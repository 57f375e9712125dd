"""Gaia DR3 around a place, from one of the services that have it, as a catalogue file.

Two routes are tried, the archive's own TAP service first and VizieR's copy second: outages of the first have
stopped pipelines for days. What comes back is written down as a file and imported like any other.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table

from nightflow.catalogs.importer import ImportReport, import_catalog
from nightflow.errors import ConfigurationError, RetryLater

__all__ = ["ROUTES", "Cone", "fetch_cone", "fetch_into", "query_tap", "query_vizier"]

GAIA_TAP = "https://gea.esac.esa.int/tap-server/tap"
VIZIER_CATALOG = "I/355/gaiadr3"
TIME_LIMIT = 120.0
"""Seconds for one route; a cone of a degree took 6 s on VizieR and 33 s by TAP."""
MAXIMUM_ROWS = 3_000_000

_COLUMNS = (
    "source_id", "ra", "dec", "pmra", "pmdec", "ref_epoch", "phot_g_mean_mag", "phot_bp_mean_mag",
    "phot_rp_mean_mag",
)  # fmt: skip
_FROM_VIZIER = {
    "Source": "source_id",
    "RA_ICRS": "ra",
    "DE_ICRS": "dec",
    "pmRA": "pmra",
    "pmDE": "pmdec",
    "Gmag": "phot_g_mean_mag",
    "BPmag": "phot_bp_mean_mag",
    "RPmag": "phot_rp_mean_mag",
}
"""VizieR's names for the archive's columns."""


@dataclass(frozen=True, kw_only=True)
class Cone:
    """A piece of sky, and how deep.

    Attributes
    ----------
    ra, dec, radius : float
        ICRS degrees.
    limit_mag : float
        Faintest G.
    """

    ra: float
    dec: float
    radius: float
    limit_mag: float = 19.0

    def __post_init__(self) -> None:
        """Refuse what is not on the sky.

        Raises
        ------
        ConfigurationError
            A value is out of bounds.
        """
        if not (0.0 <= self.ra < 360.0 and -90.0 <= self.dec <= 90.0):
            raise ConfigurationError(f"ra {self.ra}, dec {self.dec} is not on the sky; both are ICRS degrees")
        if not 0.0 < self.radius <= 10.0:
            raise ConfigurationError(f"radius {self.radius}: give degrees, above 0 and at most 10")


Query = Callable[[Cone], Table]
"""Asks one service; raises whatever its client raises."""


def query_tap(cone: Cone, url: str = GAIA_TAP) -> Table:
    """Ask a TAP service that has Gaia's tables, through astroquery.

    By an asynchronous job: the archive cuts the answers of the other kind after 2000 rows.
    """
    from astroquery.utils.tap import TapPlus  # brings half of astroquery along

    circle = f"CIRCLE('ICRS', {cone.ra!r}, {cone.dec!r}, {cone.radius!r})"
    # Constants of this module and three numbers: nothing of anybody's text is in it.
    query = (
        f"SELECT TOP {MAXIMUM_ROWS} {', '.join(_COLUMNS)} FROM gaiadr3.gaia_source "  # noqa: S608
        f"WHERE 1 = CONTAINS(POINT('ICRS', ra, dec), {circle}) AND phot_g_mean_mag < {cone.limit_mag!r}"
    )
    job = TapPlus(url=url).launch_job_async(query)
    return job.get_results()


def query_vizier(cone: Cone) -> Table:
    """Ask VizieR for its copy (astroquery)."""
    from astroquery.vizier import Vizier

    service = Vizier(columns=list(_FROM_VIZIER), row_limit=-1, timeout=TIME_LIMIT)
    answer = service.query_region(
        SkyCoord(cone.ra, cone.dec, unit="deg"),
        radius=cone.radius * u.deg,
        catalog=VIZIER_CATALOG,
        column_filters={"Gmag": f"<{cone.limit_mag!r}"},
        cache=False,
    )
    if not answer:
        raise LookupError(f"VizieR has nothing in {VIZIER_CATALOG} there")
    table = answer[0]
    table.rename_columns(list(_FROM_VIZIER), list(_FROM_VIZIER.values()))
    return table


ROUTES: Mapping[str, Query] = {"Gaia archive (TAP)": query_tap, "VizieR": query_vizier}


def fetch_cone(cone: Cone, routes: Mapping[str, Query] = ROUTES, time_limit: float = TIME_LIMIT) -> Table:
    """Return the stars of a cone from the first service that answers.

    Parameters
    ----------
    cone : Cone
    routes : mapping of name to query
        Tried in order.
    time_limit : float
        Seconds for each.

    Returns
    -------
    astropy.table.Table
        With Gaia's column names.

    Raises
    ------
    RetryLater
        None answered with stars; the message says what became of each.
    """
    failures = []
    for name, query in routes.items():
        try:
            table = _within(time_limit, query, cone)
        except Exception as error:  # noqa: BLE001 - clients of services raise anything; the next one is asked
            failures.append(f"{name}: {_told(error)}")
            continue
        missing = [column for column in ("ra", "dec", "phot_g_mean_mag") if column not in table.colnames]
        if len(table) and not missing:
            return table
        failures.append(f"{name}: " + (f"no column {', '.join(missing)}" if missing else "no star there"))
    raise RetryLater(
        f"Gaia DR3 around ra {cone.ra:g} dec {cone.dec:g} cannot be had: {'; '.join(failures)}. Is there a "
        "network? Without one, import a file: `nightflow catalog import`"
    )


def fetch_into(
    cone: Cone,
    name: str,
    folder: Path,
    routes: Mapping[str, Query] = ROUTES,
    time_limit: float = TIME_LIMIT,
) -> ImportReport:
    """Fetch a cone and import it as a local catalogue; one of that name is replaced.

    Parameters
    ----------
    cone : Cone
    name : str
        Of the catalogue.
    folder : Path
        Folder of the local catalogues.
    routes, time_limit
        As for `fetch_cone`.

    Raises
    ------
    RetryLater
        No service answered.
    ConfigurationError
        The name may not be a catalogue's.
    """
    table = fetch_cone(cone, routes, time_limit)
    table.meta.clear()
    with tempfile.TemporaryDirectory(prefix="nightflow-catalog-") as temporary:
        file = Path(temporary) / f"gaia-dr3-{cone.ra:.3f}{cone.dec:+.3f}-{cone.radius:g}.ecsv"
        table.write(file, format="ascii.ecsv")
        return import_catalog(file, name, folder)


def _within(seconds: float, query: Query, cone: Cone) -> Table:
    """Call a query in a thread of its own, left behind where it does not end: its client knows no limit."""
    answers: list[Table] = []
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            answers.append(query(cone))
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            failures.append(error)

    thread = threading.Thread(target=ask, daemon=True, name="catalogue query")
    thread.start()
    thread.join(seconds)
    if failures:
        raise failures[0]
    if not answers:
        raise TimeoutError(f"no answer in {seconds:g} s")
    return answers[0]


def _told(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
