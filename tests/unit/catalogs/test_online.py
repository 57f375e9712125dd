"""Catalogues by several routes: made-up services, and loopback servers that answer as the real ones do."""

from __future__ import annotations

import gc
import io
import json
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from nightflow.catalogs import routes as routes_module
from nightflow.catalogs.cone import Cone
from nightflow.catalogs.importer import import_catalog
from nightflow.catalogs.local import LocalCatalogs, separation
from nightflow.catalogs.online import FetchReport, Query, fetch_into
from nightflow.catalogs.routes import HalfAnswerError, Route, Source, query_skyserver, query_tap, query_vizier
from nightflow.catalogs.services import SERVICES, Service
from nightflow.catalogs.tiles import coverage_of
from nightflow.errors import ConfigurationError, RetryLater
from tests.unit.catalogs.loopback import server, source_of, tap, theirs, votable

CONE = Cone(ra=31.04, dec=46.69, radius=0.2)
GAIA = SERVICES["gaia"]
# Of the sockets that astroquery's clients leave open; they are collected at the end, by the fixture below.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(autouse=True, scope="module")
def _sockets_of_the_clients() -> Iterator[None]:
    """Collect the sockets that astroquery's clients leave open, here and not in some later test."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def gaia(n: int = 3) -> Table:
    """Return stars under our names."""
    return Table(
        {
            "id": np.arange(1, n + 1, dtype=np.int64) * 10**17,
            "ra": 31.04 + 0.01 * np.arange(n),
            "dec": np.full(n, 46.69),
            "pmra": np.full(n, 100.0),
            "pmdec": np.zeros(n),
            "G": 12.0 + np.arange(n),
            "BP": 12.5 + np.arange(n),
            "RP": 11.5 + np.arange(n),
        }
    )


def service(
    tile_radius: float = 5.0, *, everywhere: bool = True, order: int = 8, **queries: Query
) -> Service:
    return Service(
        key="gaia",
        title="Gaia DR3",
        routes={name: Route(query=query, tile_radius=tile_radius) for name, query in queries.items()},
        epoch=2016.0,
        order=order,
        limit_mag=19.0,
        limit_band="G",
        everywhere=everywhere,
    )


def fetch(folder: Path, cone: Cone = CONE, time_limit: float = 20.0, **queries: Query) -> FetchReport:
    return fetch_into(cone, "gaia", folder, service(**queries), time_limit)


def answers(table: Table) -> Query:
    return lambda _: table


def fails(error: Exception) -> Query:
    def query(_: Cone) -> Table:
        raise error

    return query


def hangs(_: Cone) -> Table:
    time.sleep(5)
    return gaia()


SKY = Table(
    {
        "id": np.arange(1, 4001),
        "ra": np.random.default_rng(1).uniform(27, 35, 4000),
        "dec": np.random.default_rng(2).uniform(44, 50, 4000),
        "G": np.random.default_rng(3).uniform(8, 20, 4000),
    }
)


class Sky:
    """A service that has `SKY`, and notes what it is asked for."""

    def __init__(self, failing_after: int = 10**9) -> None:
        self.asked: list[Cone] = []
        self.failing_after = failing_after

    def __call__(self, cone: Cone) -> Table:
        self.asked.append(cone)
        if len(self.asked) > self.failing_after:
            raise ConnectionError("reset by peer")
        near = separation(np.array(SKY["ra"]), np.array(SKY["dec"]), cone.ra, cone.dec) <= cone.radius
        return SKY[near & (SKY["G"] < cone.limit_mag)]


def expected(cone: Cone) -> set[str]:
    near = separation(np.array(SKY["ra"]), np.array(SKY["dec"]), cone.ra, cone.dec) <= cone.radius
    return {str(one) for one in SKY["id"][near & (SKY["G"] < cone.limit_mag)]}


def kept(folder: Path, cone: Cone) -> set[str]:
    stars = LocalCatalogs(folder).cone("gaia", cone.ra, cone.dec, cone.radius, limit_mag=cone.limit_mag)
    assert len(set(stars.ids)) == len(stars)
    return set(stars.ids)


def test_the_first_route_that_answers_is_taken(tmp_path: Path) -> None:
    assert fetch(tmp_path / "1", a=answers(gaia(2)), b=answers(gaia(3))).n_stars == 2
    report = fetch(tmp_path / "2", a=fails(OSError("away")), b=answers(gaia(3)))
    assert (report.n_stars, report.warnings) == (3, ("a: OSError: away",))


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (fails(ConnectionError("no route to host\nsecond line")), "ConnectionError: no route to host"),
        (fails(ValueError("")), "ValueError"),
        (fails(HalfAnswerError("half an answer: 10 rows")), "HalfAnswerError: half an answer: 10 rows"),
        (hangs, "TimeoutError: no answer in 0.2 s"),
        (answers(gaia(0)), "no star there"),
        (answers(Table({"x": [1]})), "no column ra, dec"),
    ],
)
def test_where_none_answers_each_failure_is_told(tmp_path: Path, query: Query, said: str) -> None:
    began = time.monotonic()
    with pytest.raises(RetryLater) as caught:
        fetch(tmp_path, time_limit=0.2, Gaia=query, VizieR=fails(OSError("down")))
    assert "Gaia: " in str(caught.value)
    assert said in str(caught.value)
    assert "VizieR: OSError: down" in str(caught.value)
    assert "ra 31.04 dec 46.69" in str(caught.value)
    assert "second line" not in str(caught.value)
    assert time.monotonic() - began < 3
    assert LocalCatalogs(tmp_path).names() == []


def test_what_is_fetched_is_a_catalogue_like_any_other(tmp_path: Path) -> None:
    report = fetch(tmp_path, a=answers(gaia()))
    assert (report.n_stars, report.n_new, report.epoch, set(report.bands)) == (
        3,
        3,
        2016.0,
        {"G", "BP", "RP"},
    )
    stars = LocalCatalogs(tmp_path).cone("gaia", 31.04, 46.69, 0.1)
    assert list(stars.ids) == ["100000000000000000", "200000000000000000", "300000000000000000"]
    assert stars.mags["G"] == pytest.approx([12, 13, 14])
    assert stars.pmra == pytest.approx(100.0)


def test_what_is_here_is_never_asked_for_again(tmp_path: Path) -> None:
    sky = Sky()
    fetch(tmp_path, a=sky)
    asked = len(sky.asked)
    again = fetch(tmp_path, Cone(ra=31.1, dec=46.7, radius=0.05), a=sky)
    assert (again.n_questions, again.n_new, len(sky.asked)) == (0, 0, asked)
    assert fetch(tmp_path, a=fails(OSError("no network"))).n_questions == 0


def test_a_neighbouring_field_joins(tmp_path: Path) -> None:
    sky = Sky()
    first, second = Cone(ra=31.04, dec=46.69, radius=0.4), Cone(ra=31.5, dec=46.69, radius=0.4)
    fetch(tmp_path, first, a=sky)
    fetch(tmp_path, second, a=sky)
    for cone in (first, second):
        assert len(expected(cone)) > 30
        assert kept(tmp_path, cone) == expected(cone)


def test_a_deeper_fetch_asks_again_and_keeps_each_star_once(tmp_path: Path) -> None:
    sky = Sky()
    bright = Cone(ra=31.04, dec=46.69, radius=0.4, limit_mag=12.0)
    deep = Cone(ra=31.04, dec=46.69, radius=0.4, limit_mag=18.0)
    fetch(tmp_path, bright, a=sky)
    assert len(expected(bright)) < len(expected(deep))
    assert fetch(tmp_path, deep, a=sky).n_questions > 0
    assert kept(tmp_path, deep) == expected(deep)
    assert fetch(tmp_path, bright, a=sky).n_questions == 0


def test_a_field_larger_than_a_tile_is_asked_for_in_tiles(tmp_path: Path) -> None:
    sky = Sky()
    cone = Cone(ra=31.04, dec=46.69, radius=1.0)
    fetch_into(cone, "gaia", tmp_path, service(0.4, a=sky))
    assert len(sky.asked) > 5
    assert max(one.radius for one in sky.asked) <= 0.4
    assert kept(tmp_path, cone) == expected(cone)


def test_a_route_that_dies_half_way_leaves_what_it_gave_to_the_next(tmp_path: Path) -> None:
    first, second, cone = Sky(failing_after=3), Sky(), Cone(ra=31.04, dec=46.69, radius=1.0)
    report = fetch_into(cone, "gaia", tmp_path, service(0.4, first=first, second=second))
    alone = Sky()
    fetch_into(cone, "gaia", tmp_path / "alone", service(0.4, first=alone))
    assert len(second.asked) == len(alone.asked) - 3
    assert report.warnings == ("first: ConnectionError: reset by peer",)
    assert kept(tmp_path, cone) == expected(cone)


def test_what_came_before_an_outage_is_kept(tmp_path: Path) -> None:
    cone = Cone(ra=31.04, dec=46.69, radius=1.0)
    with pytest.raises(RetryLater, match="reset by peer"):
        fetch_into(cone, "gaia", tmp_path, service(0.4, only=Sky(failing_after=3)))
    whole = Sky()
    fetch_into(cone, "gaia", tmp_path, service(0.4, only=whole))
    alone = Sky()
    fetch_into(cone, "gaia", tmp_path / "alone", service(0.4, only=alone))
    assert len(whole.asked) == len(alone.asked) - 3
    assert kept(tmp_path, cone) == expected(cone)


def test_an_empty_tile_counts_where_a_survey_has_holes(tmp_path: Path) -> None:
    def one_star(cone: Cone) -> Table:
        found = gaia(1)
        near = separation(np.array(found["ra"]), np.array(found["dec"]), cone.ra, cone.dec) <= cone.radius
        return found[near]

    report = fetch_into(CONE, "gaia", tmp_path, service(0.3, everywhere=False, order=9, a=one_star))
    assert report.n_stars == 1
    assert (
        fetch_into(CONE, "gaia", tmp_path, service(0.3, everywhere=False, order=9, a=hangs)).n_questions == 0
    )
    with pytest.raises(RetryLater, match="a: no star there"):
        fetch_into(CONE, "other", tmp_path, service(everywhere=False, a=answers(gaia(0))))


def test_a_failure_leaves_the_old_catalogue(tmp_path: Path) -> None:
    fetch(tmp_path, a=answers(gaia()))
    with pytest.raises(RetryLater):
        fetch(tmp_path, Cone(ra=100, dec=0, radius=0.2), a=fails(OSError("away")))
    assert LocalCatalogs(tmp_path).metadata("gaia").n_stars == 3


def test_fetched_stars_join_neither_an_import_nor_another_service(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("ra,dec,V\n31.04,46.69,9\n")
    import_catalog(file, "gaia", tmp_path)
    with pytest.raises(ConfigurationError, match=r"imported from mine\.csv.*--name"):
        fetch(tmp_path, a=answers(gaia()))
    fetch_into(CONE, "sky", tmp_path, service(a=answers(gaia())))
    with pytest.raises(ConfigurationError, match="holds what gaia has, not sdss"):
        fetch_into(CONE, "sky", tmp_path, SERVICES["sdss"])


def test_an_import_over_a_fetched_catalogue_forgets_what_was_covered(tmp_path: Path) -> None:
    fetch(tmp_path, a=answers(gaia()))
    assert coverage_of(tmp_path, "gaia") is not None
    file = tmp_path / "mine.csv"
    file.write_text("ra,dec,V\n31.04,46.69,9\n")
    import_catalog(file, "gaia", tmp_path)
    assert coverage_of(tmp_path, "gaia") is None


def test_coverage_that_is_damaged_is_named(tmp_path: Path) -> None:
    fetch(tmp_path, a=answers(gaia()))
    (file,) = (tmp_path / "gaia").glob("*/coverage.json")
    file.write_text(json.dumps({"order": 8}))
    with pytest.raises(ConfigurationError, match=r"coverage\.json: damaged"):
        fetch(tmp_path, a=answers(gaia()))


def test_two_that_fetch_at_once_lose_nothing(tmp_path: Path) -> None:
    fields = [Cone(ra=30.0 + step, dec=46.0, radius=0.3) for step in range(4)]
    threads = [threading.Thread(target=fetch, args=(tmp_path, cone), kwargs={"a": Sky()}) for cone in fields]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for cone in fields:
        assert kept(tmp_path, cone) == expected(cone)
        assert fetch(tmp_path, cone, a=hangs).n_questions == 0


@pytest.mark.parametrize(
    ("ra", "dec", "radius"),
    [
        (360.0, 0, 1),
        (-1, 0, 1),
        (0, 91, 1),
        (0, 0, 0),
        (0, 0, 11),
        (float("nan"), 0, 1),
        (0, 0, float("nan")),
    ],
)
def test_what_is_not_on_the_sky_is_refused(ra: float, dec: float, radius: float) -> None:
    with pytest.raises(ConfigurationError):
        Cone(ra=ra, dec=dec, radius=radius)


def with_info(content: bytes, info: str) -> bytes:
    """Put an INFO behind the table, where services tell how a query ended (DALI 1.1)."""
    return content.replace(b"</TABLE>", b"</TABLE>" + info.encode(), 1)


OVERFLOW = '<INFO name="QUERY_STATUS" value="OVERFLOW">cut at 3 rows</INFO>'
ERROR = '<INFO name="QUERY_STATUS" value="ERROR">table does not exist</INFO>'


TAP_ROUTES = [("gaia", "Gaia archive (TAP)"), ("apass", "VizieR (TAP)"), ("panstarrs", "MAST (TAP)")]
VIZIER_ROUTES = ["gaia", "apass", "panstarrs", "sdss"]


@pytest.mark.parametrize(("name", "route"), TAP_ROUTES)
def test_a_tap_service_is_asked_in_its_own_words(name: str, route: str) -> None:
    source = source_of(name, route)
    with server(tap(votable(theirs(source, gaia())))) as (address, forms):
        table = query_tap(CONE, f"{address}/tap", source)
    assert {"id", "ra", "dec"} <= set(table.colnames)
    assert list(table["ra"]) == list(gaia()["ra"])
    assert set(table.colnames) == set(source.columns.values())
    (query,) = next(form["QUERY"] for form in forms if "QUERY" in form)
    assert source.table in query
    assert "CIRCLE('ICRS', 31.04, 46.69, 0.2)" in query
    assert f"{source.limit} < 19.0" in query


@pytest.mark.parametrize(
    ("info", "error", "said"),
    [(OVERFLOW, HalfAnswerError, "OVERFLOW cut at 3 rows"), (ERROR, RuntimeError, "table does not exist")],
)
def test_a_tap_answer_that_is_cut_or_an_error_is_none(info: str, error: type[Exception], said: str) -> None:
    source = source_of("gaia", "Gaia archive (TAP)")
    content = with_info(votable(theirs(source, gaia())), info)
    with server(tap(content)) as (address, _), pytest.raises(error, match=said):
        query_tap(CONE, f"{address}/tap", source)


def test_as_many_rows_as_are_sent_at_most_are_half_an_answer(tmp_path: Path) -> None:
    source = Source(table="t", columns={"ra": "ra", "dec": "dec", "G": "G"}, limit="G", row_cap=3)
    with server(tap(votable(gaia(3)))) as (address, _):
        half = partial(query_tap, url=f"{address}/tap", source=source)
        with pytest.raises(RetryLater, match="half an answer: 3 rows"):
            fetch(tmp_path, a=half)
        report = fetch(tmp_path, a=half, b=answers(gaia(5)))
    assert report.n_stars == 5


@pytest.mark.parametrize("status", [500, 503])
def test_an_archive_in_trouble_is_a_failure(tmp_path: Path, status: int) -> None:
    down = (status, {"Content-Type": "text/plain"}, b"down for maintenance")
    source = source_of("gaia", "Gaia archive (TAP)")
    with server(lambda *_: down) as (address, _), pytest.raises(RetryLater, match="archive: "):
        fetch(tmp_path, archive=partial(query_tap, url=f"{address}/tap", source=source))


def test_a_page_in_html_is_no_table(tmp_path: Path) -> None:
    source = source_of("gaia", "Gaia archive (TAP)")
    page = tap(b"<html><body>Service unavailable</body></html>")
    with server(page) as (address, _), pytest.raises(RetryLater, match="archive: "):
        fetch(tmp_path, archive=partial(query_tap, url=f"{address}/tap", source=source))


@pytest.fixture
def vizier_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    from astroquery.vizier import VizierClass

    def place(address: str) -> None:
        monkeypatch.setattr(VizierClass, "_server_to_url", lambda *_, **__: f"{address}/viz-bin/votable")

    return place


@pytest.mark.parametrize("name", VIZIER_ROUTES)
def test_vizier_is_asked_and_its_names_are_translated(
    name: str, tmp_path: Path, vizier_at: Callable[[str], None]
) -> None:
    source = source_of(name, "VizieR")
    table = theirs(source, gaia())
    with server(lambda *_: (200, {"Content-Type": "text/xml"}, votable(table))) as (address, forms):
        vizier_at(address)
        one = service(a=partial(query_vizier, source=source))
        report = fetch_into(CONE, name, tmp_path, one)
    assert report.n_stars == 3
    assert set(report.bands) == {ours for ours in source.columns.values() if ours in routes_bands()}
    sent = str(forms)
    assert source.table in sent
    assert "<19.0" in sent


def routes_bands() -> set[str]:
    return {"G", "BP", "RP", "B", "V", "u", "g", "r", "i", "z"}


def test_vizier_that_cuts_its_answer(tmp_path: Path, vizier_at: Callable[[str], None]) -> None:
    source = source_of("apass", "VizieR")
    cut = '<INFO name="warning" value="Truncated result (maxtup=3)"/>'
    content = with_info(votable(theirs(source, gaia())), cut)
    with server(lambda *_: (200, {"Content-Type": "text/xml"}, content)) as (address, _):
        vizier_at(address)
        with pytest.raises(RetryLater, match="half an answer"):
            fetch(tmp_path, a=partial(query_vizier, source=source))


def skyserver(
    request: BaseHTTPRequestHandler, form: dict[str, list[str]]
) -> tuple[int, dict[str, str], bytes]:
    """Answer as SkyServer does: a line that names the table, then CSV; more than 3' it refuses."""
    sql = form["cmd"][0]
    radius = float(sql.split("fGetNearbyObjEq(")[1].split(")")[0].split(",")[2])
    if radius > 3.0:
        return 400, {"Content-Type": "text/plain"}, b"radius must be less than 3 arcmin"
    ra, dec = (float(one) for one in sql.split("fGetNearbyObjEq(")[1].split(",")[:2])
    stars = Table({"objID": [1237, 1238], "ra": [31.04, 31.1], "dec": [46.69, 46.7]})
    for band in "ugriz":
        stars[f"psfMag_{band}"] = [16.0, 17.0]
        stars[f"psfMagErr_{band}"] = [0.01, -9999.0]
    stars = stars[separation(np.array(stars["ra"]), np.array(stars["dec"]), ra, dec) <= radius / 60.0]
    out = io.StringIO()
    stars.write(out, format="ascii.csv")
    return 200, {"Content-Type": "text/plain"}, b"#Table1\n" + out.getvalue().encode()


def test_skyserver_is_asked_by_tiles_of_three_arcmin_and_brought_to_ab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from astroquery.sdss import conf

    real = SERVICES["sdss"]
    only = Service(
        key="sdss",
        title="SDSS",
        routes={"SkyServer": real.routes["SkyServer"]},
        epoch=real.epoch,
        order=real.order,
        limit_mag=real.limit_mag,
        limit_band=real.limit_band,
        everywhere=False,
        ab_offsets=real.ab_offsets,
    )
    with server(skyserver) as (address, forms), conf.set_temp("skyserver_baseurl", address):
        report = fetch_into(Cone(ra=31.06, dec=46.69, radius=0.07), "sdss", tmp_path, only)
    assert report.n_stars == 2
    assert report.n_questions == len(forms) > 3
    stars = LocalCatalogs(tmp_path).cone("sdss", 31.06, 46.69, 0.1)
    assert stars.mags["r"] == pytest.approx([16.0, 17.0])
    assert stars.mags["u"] == pytest.approx([15.96, 16.96])
    assert stars.mags["z"] == pytest.approx([16.02, 17.02])
    assert stars.mag_errs["r"] == pytest.approx([0.01, np.nan], nan_ok=True)
    assert "p.type = 6" in forms[0]["cmd"][0]


def test_every_service_has_two_routes_of_hosts_or_clients_of_their_own() -> None:
    for one in SERVICES.values():
        assert len(one.routes) >= 2
    assert SERVICES["sdss"].routes["SkyServer"].tile_radius <= 3.0 / 60.0
    assert query_skyserver.__module__ == routes_module.__name__
