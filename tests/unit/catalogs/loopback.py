"""Loopback servers that answer as the services of catalogues do."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np
from astropy.table import Table

from nightflow.catalogs.routes import Source
from nightflow.catalogs.services import SERVICES

Answer = Callable[[BaseHTTPRequestHandler, dict[str, list[str]]], tuple[int, dict[str, str], bytes]]


@contextmanager
def server(answer: Answer) -> Iterator[tuple[str, list[dict[str, list[str]]]]]:
    """Run a web service; give its address and the forms that were sent to it."""
    forms: list[dict[str, list[str]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            forms.append(parse_qs(self.rfile.read(length).decode()))
            self._answer(forms[-1])

        def do_GET(self) -> None:
            forms.append(parse_qs(urlsplit(self.path).query))
            self._answer(forms[-1])

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


def source_of(name: str, route: str) -> Source:
    query = SERVICES[name].routes[route].query
    assert isinstance(query, partial)
    return query.keywords["source"]


def theirs(source: Source, stars: Table, *, prime: str = "_") -> Table:
    """Return stars under a service's names; VOTables have no prime in a name."""
    table = Table()
    for column, ours in source.columns.items():
        if ours in stars.colnames:
            table[column.replace("'", prime)] = stars[ours]
        elif ours.endswith("_err"):
            table[column.replace("'", prime)] = np.full(len(stars), 0.02)
        else:
            table[column.replace("'", prime)] = 13.0 + np.arange(len(stars))
    return table


def tap(content: bytes) -> Answer:
    """Answer as a TAP service does: a job is made, has a phase, then a result."""

    def answer(request: BaseHTTPRequestHandler, _: dict[str, list[str]]) -> tuple[int, dict[str, str], bytes]:
        here = f"http://{request.headers['Host']}"
        if request.command == "POST":
            return 303, {"Location": f"{here}/tap/async/17"}, b""
        if request.path.endswith("/phase"):
            return 200, {"Content-Type": "text/plain"}, b"COMPLETED"
        return 200, {"Content-Type": "application/x-votable+xml"}, content

    return answer
