"""What lies outside: the Prefect server, a Dask cluster, and optional programs of the system."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException, InvalidURL
from urllib.parse import urlsplit

from nightflow.config import Settings
from nightflow.doctor.finding import Finding, fault, fine, remark, warning
from nightflow.errors import ConfigurationError
from nightflow.external import not_installed
from nightflow.pipeline.cluster import cluster_address
from nightflow.shown_url import shown_url

__all__ = ["check_cluster", "check_prefect", "check_programs"]

_PATIENCE = 3.0
_UNSEEN = "without it the night goes on, unseen in the UI"
_PREFECT_HOST, _PREFECT_PORT = "127.0.0.1", 4200
"""Of a server that is told no other."""
_SCHEME_PORTS = {"http": 80, "https": 443}
"""Where a server is looked for whose address names no port."""
_WRITE = f"write it as http://{_PREFECT_HOST}:{_PREFECT_PORT}/api"
_NAME_ANOTHER = "or name another address ([prefect] api_url, else PREFECT_API_URL)"
_PROGRAMS = {
    "solve-field": "the solver's own program",
    "build-astrometry-index": "for `nightflow index build`",
    "scamp": "for `nightflow scamp` and the rung of that name",
    "source-extractor": "for `nightflow scamp --detections source-extractor`",
}


def check_prefect(settings: Settings, patience: float = _PATIENCE) -> Iterator[Finding]:
    """Ask the Prefect server for its health.

    Parameters
    ----------
    settings : Settings
        ``prefect.api_url``; else PREFECT_API_URL of the environment.
    patience : float
        Seconds until a server that does not answer counts as absent.
    """
    if not settings.prefect.enabled:
        yield remark("prefect", "switched off in the settings ([prefect] enabled = false)")
        return
    url = settings.prefect.api_url or os.environ.get("PREFECT_API_URL", "")
    if not url:
        yield warning(
            "prefect",
            "no address: neither [prefect] api_url nor PREFECT_API_URL is set",
            _start(_PREFECT_HOST, _PREFECT_PORT),
        )
    elif not url.startswith(("http://", "https://")):
        yield warning("prefect", f"{shown_url(url)!r} is no address", _WRITE)
    else:
        yield _asked(url.rstrip("/"), patience)


def check_cluster(settings: Settings, patience: float = _PATIENCE) -> Iterator[Finding]:
    """Look whether backfills can use the Dask cluster of the settings; say nothing where there is none."""
    here = "or empty the key: backfills are then reduced on this machine"
    try:
        address = cluster_address(settings)
    except ConfigurationError as error:
        yield fault("dask", str(error), f"mend it, {here}")
        return
    if not address:
        return
    try:
        place = urlsplit(address)
        socket.create_connection((place.hostname or "", place.port or 0), patience).close()
    except (OSError, ValueError) as error:
        yield warning("dask", f"no scheduler at {address!r}: {error}", f"start one: dask scheduler; {here}")
    else:
        yield fine("dask", f"a scheduler listens at {address}")


def check_programs() -> Iterator[Finding]:
    """Look for the optional programs."""
    for program, purpose in _PROGRAMS.items():
        path = shutil.which(program)
        yield (
            fine(program, path) if path else remark(program, f"optional, {purpose}; {not_installed(program)}")
        )


def _start_at(url: str) -> str:
    """Return how a server is started that answers under an address."""
    try:
        address = urlsplit(url)
        host, port = address.hostname or "", address.port or _SCHEME_PORTS[address.scheme]
    except ValueError:
        return _WRITE
    if "@" in url and "@" not in address.netloc:  # what stands as host and port is of a password with a slash
        return _WRITE
    if _is_this_machine(host):
        return _start(host, port)
    return f"start a server on {host}, port {port}, {_NAME_ANOTHER}; {_UNSEEN}"


def _start(host: str, port: int) -> str:
    """Return the command that starts a server on this machine."""
    options = "" if host in (_PREFECT_HOST, "localhost") else f" --host {host}"
    options += "" if port == _PREFECT_PORT else f" --port {port}"
    other = f", {_NAME_ANOTHER}" if options else ""
    return f"start one: prefect server start{options}{other}; {_UNSEEN}"


def _is_this_machine(host: str) -> bool:
    """Return whether a host is this machine whatever the network is: by a loopback address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _asked(url: str, patience: float) -> Finding:
    shown = shown_url(url)
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=patience) as answer:
            healthy = answer.status == 200
    except InvalidURL:  # its text quotes what stands where a port should, and that may be a password
        return warning("prefect", f"{shown!r} is no address", _WRITE)
    except (OSError, HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        return warning("prefect", f"{shown} does not answer: {reason}", _start_at(url))
    return (
        fine("prefect", f"{shown} is healthy")
        if healthy
        else warning("prefect", f"{shown} is not healthy", _start_at(url))
    )
