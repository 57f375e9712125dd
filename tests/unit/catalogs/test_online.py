"""Gaia by two routes: made-up services, and loopback servers that answer as the real ones do."""

from __future__ import annotations

import gc
import io
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import numpy as np
import pytest
from astropy.table import Table

from nightflow.catalogs.local import LocalCatalogs
from nightflow.catalogs.online import Cone, Query, fetch_cone, fetch_into, query_tap, query_vizier
from nightflow.errors import ConfigurationError, RetryLater

CONE = Cone(ra=31.04, dec=46.69, radius=0.2)


@pytest.fixture(autouse=True)
def _sockets_of_the_clients() -> Iterator[None]:
    """Collect the sockets that astroquery's clients leave open, here and not in some later test."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def gaia(n: int = 3) -> Table:
    return Table(
        {
            "source_id": np.arange(1, n + 1, dtype=np.int64) * 10**17,
            "ra": 31.04 + 0.01 * np.arange(n),
            "dec": np.full(n, 46.69),
            "pmra": np.full(n, 100.0),
            "pmdec": np.zeros(n),
            "ref_epoch": np.full(n, 2016.0),
            "phot_g_mean_mag": 12.0 + np.arange(n),
            "phot_bp_mean_mag": 12.5 + np.arange(n),
            "phot_rp_mean_mag": 11.5 + np.arange(n),
        }
    )


def answers(table: Table) -> Query:
    return lambda _: table


def fails(error: Exception) -> Query:
    def query(_: Cone) -> Table:
        raise error

    return query


def hangs(_: Cone) -> Table:
    time.sleep(5)
    return gaia()


def test_the_first_route_that_answers_is_taken() -> None:
    assert len(fetch_cone(CONE, {"a": answers(gaia(2)), "b": answers(gaia(3))})) == 2
    assert len(fetch_cone(CONE, {"a": fails(OSError("away")), "b": answers(gaia(3))})) == 3


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (fails(ConnectionError("no route to host\nsecond line")), "ConnectionError: no route to host"),
        (fails(ValueError("")), "ValueError"),
        (hangs, "TimeoutError: no answer in 0.2 s"),
        (answers(gaia(0)), "no star there"),
        (answers(Table({"x": [1]})), "no column ra, dec, phot_g_mean_mag"),
    ],
)
def test_where_none_answers_each_failure_is_told(query: Query, said: str) -> None:
    began = time.monotonic()
    with pytest.raises(RetryLater) as caught:
        fetch_cone(CONE, {"Gaia": query, "VizieR": fails(OSError("down"))}, time_limit=0.2)
    assert f"Gaia: {said}" in str(caught.value)
    assert "VizieR: OSError: down" in str(caught.value)
    assert "ra 31.04 dec 46.69" in str(caught.value)
    assert "second line" not in str(caught.value)
    assert time.monotonic() - began < 3


def test_what_is_fetched_is_imported_like_a_file(tmp_path: Path) -> None:
    report = fetch_into(CONE, "gaia", tmp_path, {"a": answers(gaia())})
    assert (report.n_stars, report.epoch, set(report.bands)) == (3, 2016.0, {"G", "BP", "RP"})
    stars = LocalCatalogs(tmp_path).cone("gaia", 31.04, 46.69, 0.1)
    assert list(stars.ids) == ["100000000000000000", "200000000000000000", "300000000000000000"]
    assert stars.mags["G"] == pytest.approx([12, 13, 14])
    assert stars.pmra == pytest.approx(100.0)


def test_a_failure_leaves_the_old_catalogue(tmp_path: Path) -> None:
    fetch_into(CONE, "gaia", tmp_path, {"a": answers(gaia())})
    with pytest.raises(RetryLater):
        fetch_into(CONE, "gaia", tmp_path, {"a": fails(OSError("away"))})
    assert LocalCatalogs(tmp_path).metadata("gaia").n_stars == 3


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


Answer = Callable[[BaseHTTPRequestHandler, dict[str, list[str]]], tuple[int, dict[str, str], bytes]]


@contextmanager
def service(answer: Answer) -> Iterator[tuple[str, list[dict[str, list[str]]]]]:
    """Run a web service; give its address and the forms that were sent to it."""
    forms: list[dict[str, list[str]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            forms.append(parse_qs(self.rfile.read(length).decode()))
            self._answer(forms[-1])

        def do_GET(self) -> None:
            self._answer({})

        def _answer(self, form: dict[str, list[str]]) -> None:
            status, headers, content = answer(self, form)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", forms
        server.shutdown()
        thread.join()


def votable(table: Table) -> bytes:
    out = io.BytesIO()
    table.write(out, format="votable")
    return out.getvalue()


def tap(request: BaseHTTPRequestHandler, _: dict[str, list[str]]) -> tuple[int, dict[str, str], bytes]:
    """Answer as a TAP service does: a job is made, has a phase, then a result."""
    here = f"http://{request.headers['Host']}"
    if request.command == "POST":
        return 303, {"Location": f"{here}/tap/async/17"}, b""
    if request.path.endswith("/phase"):
        return 200, {"Content-Type": "text/plain"}, b"COMPLETED"
    return 200, {"Content-Type": "application/x-votable+xml"}, votable(gaia())


def test_the_archive_is_asked_by_tap() -> None:
    with service(tap) as (address, forms):
        table = query_tap(CONE, f"{address}/tap")
    assert list(table["phot_g_mean_mag"]) == [12, 13, 14]
    (query,) = forms[0]["QUERY"]
    assert "gaiadr3.gaia_source" in query
    assert "CIRCLE('ICRS', 31.04, 46.69, 0.2)" in query
    assert "phot_g_mean_mag < 19.0" in query


def test_an_archive_in_trouble_is_a_failure() -> None:
    down = (503, {"Content-Type": "text/plain"}, b"down for maintenance")
    with service(lambda *_: down) as (address, _), pytest.raises(RetryLater, match="archive: "):
        fetch_cone(CONE, {"archive": lambda cone: query_tap(cone, f"{address}/tap")}, time_limit=10)


def vizier(_: BaseHTTPRequestHandler, form: dict[str, list[str]]) -> tuple[int, dict[str, str], bytes]:
    names = ["Source", "RA_ICRS", "DE_ICRS", "pmRA", "pmDE", "Gmag", "BPmag", "RPmag"]
    table = gaia()
    table.remove_column("ref_epoch")
    table.rename_columns(table.colnames, names)
    table.meta |= {"ID": "I_355_gaiadr3", "name": "I/355/gaiadr3"}
    return 200, {"Content-Type": "text/xml"}, votable(table)


def test_vizier_is_asked_and_its_names_are_translated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from astroquery.vizier import VizierClass

    with service(vizier) as (address, forms):
        monkeypatch.setattr(VizierClass, "_server_to_url", lambda *_, **__: f"{address}/viz-bin/votable")
        report = fetch_into(CONE, "gaia", tmp_path, {"VizieR": query_vizier})
    assert (report.n_stars, set(report.bands)) == (3, {"G", "BP", "RP"})
    assert report.epoch == 2016.0
    sent = str(forms)
    assert "I/355/gaiadr3" in sent
    assert "<19.0" in sent
