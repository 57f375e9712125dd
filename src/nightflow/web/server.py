"""The dashboard's server: GET only, a handful of addresses, this machine only unless told otherwise."""

from __future__ import annotations

import ipaddress
import logging
import re
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from nightflow.errors import ConfigurationError, NightflowError
from nightflow.store.database import Database
from nightflow.web.content import gather
from nightflow.web.page import CONTENT_SECURITY_POLICY, STYLE, render, render_message
from nightflow.web.pictures import Pictures

__all__ = ["DashboardServer", "is_loopback"]

log = logging.getLogger(__name__)

_PICTURE = re.compile(r"/(thumbnail|target)/([1-9][0-9]{0,14})\.png")
_LOCAL_NAMES = frozenset({"localhost"})
_PATIENCE = 15.0
"""Seconds that a client may take to send its request."""


def is_loopback(host: str) -> bool:
    """Return whether a host name or address means this machine alone."""
    if host.lower() in _LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class DashboardServer(ThreadingHTTPServer):
    """Serves the dashboard of one store.

    Parameters
    ----------
    host : str
        Where to listen.
    port : int
        0: any that is free; see ``server_port``.
    database : Database
    products : Path
        Folder of the products.

    Raises
    ------
    ConfigurationError
        The address is in use or not one of this machine's.
    """

    daemon_threads = True

    def __init__(self, host: str, port: int, database: Database, products: Path) -> None:
        self.database = database
        self.pictures = Pictures(database, products)
        self.local_only = is_loopback(host)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            raise ConfigurationError(
                f"cannot listen at {host} port {port}: {error}; choose another --port"
            ) from error

    def page(self) -> tuple[HTTPStatus, str]:
        """Return the page as it is now."""
        try:
            return HTTPStatus.OK, render(gather(self.database), f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC")
        except NightflowError as error:
            return HTTPStatus.SERVICE_UNAVAILABLE, render_message(str(error))


class _Handler(BaseHTTPRequestHandler):
    server: DashboardServer
    timeout = _PATIENCE
    server_version = "nightflow"
    sys_version = ""

    def do_GET(self) -> None:
        if not self._is_meant():
            self._send(HTTPStatus.FORBIDDEN, "text/plain; charset=utf-8", b"ask for localhost\n")
        elif self.path == "/":
            status, page = self.server.page()
            self._send(status, "text/html; charset=utf-8", page.encode())
        elif self.path == "/style.css":
            self._send(HTTPStatus.OK, "text/css; charset=utf-8", STYLE.encode())
        else:
            self._send_picture()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is no request for a page: in plain words, with nothing of the request in them."""
        status = HTTPStatus(code)
        if status is HTTPStatus.NOT_IMPLEMENTED:
            status = HTTPStatus.METHOD_NOT_ALLOWED
        self._send(status, "text/plain; charset=utf-8", f"{status.phrase}: only GET is answered\n".encode())

    def _is_meant(self) -> bool:
        """Refuse names other than this machine's: a page from elsewhere may have its own name lead here."""
        if not self.server.local_only:
            return True
        host = self.headers.get("Host", "")
        name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
        return is_loopback(name)

    def _send_picture(self) -> None:
        match = _PICTURE.fullmatch(self.path)
        content = self._picture(match[1], int(match[2])) if match is not None else None
        if content is None:
            self._send(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"not here\n")
        else:
            self._send(HTTPStatus.OK, "image/png", content)

    def _picture(self, kind: str, number: int) -> bytes | None:
        pictures = self.server.pictures
        find: Callable[[int], bytes | None] = (
            pictures.thumbnail if kind == "thumbnail" else pictures.light_curve
        )
        try:
            return find(number)
        except (NightflowError, OSError) as error:
            log.warning("%s: %s", self.path, error)
            return None

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the terminal quiet; the log has it for who wants it."""
        log.debug(format, *args)


_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
