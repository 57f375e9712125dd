"""A night with its own Prefect server, run in a network namespace that holds nothing but the loopback.

``unshare -n python -m tests.e2e.night_alone FOLDER NIGHT`` prints, as JSON, how the frames ended,
how long they took, how a backfill of them ended, and how often anything asked for a way outside.
"""

from __future__ import annotations

import fcntl
import json
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

from nightflow.store.overview import frame_rows
from tests.e2e.conftest import Server, clean_environment, free_port, wait_until, watcher_of
from tests.e2e.observatory import SETTINGS, Observatory

PATIENCE_SECONDS = 150
BACKFILL = """
import asyncio
from flows.backfill import backfill
print(asyncio.run(backfill(force=True, return_state=True)).message)
"""
_SET_FLAGS, _UP = 0x8914, 1
"""SIOCSIFFLAGS and IFF_UP of Linux."""


def bring_up_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh", b"lo", _UP))


def asked_for_a_way_out() -> int:
    """Return how often something here wanted to go where no route leads, to servers of names too."""
    names, values = (
        line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Ip:")
    )
    six = dict(line.split() for line in Path("/proc/net/snmp6").read_text().splitlines())
    return int(dict(zip(names, values, strict=True))["OutNoRoutes"]) + int(six["Ip6OutNoRoutes"])


def main(folder: Path, night: Path) -> dict[str, object]:
    bring_up_loopback()
    server = Server(home=folder / "home", port=free_port())
    server.home.mkdir()
    try:
        server.start()
        settings = SETTINGS.format(missing_calibration="hold", url=server.url)
        with watcher_of(folder, settings) as watcher:
            observatory = Observatory(watcher, night, catalog=False)
            frames = observatory.frames("bias", "dark", "flat", "light")
            began = time.monotonic()
            watcher.start()
            observatory.deliver(*frames)
            wait_until(lambda: observatory.settled(len(frames)), PATIENCE_SECONDS, "the night to settle")
            seconds = time.monotonic() - began
            watcher.stop()
        return {
            "seconds": seconds,
            "rows": frame_rows(observatory.database),
            "runs": len(server.find("flow_runs", deployments={"name": {"any_": ["live"]}})),
            "backfill": backfilled(folder, server),
            "ways_out": asked_for_a_way_out(),
        }
    finally:
        server.kill()


def backfilled(folder: Path, server: Server) -> str:
    """Reduce the night once more as a Prefect worker does it, in a process that nobody prepared."""
    environment = clean_environment() | {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": server.url,
        "NIGHTFLOW_CONFIG": str(folder / "nightflow.toml"),
    }
    ended = subprocess.run(
        [sys.executable, "-c", BACKFILL], env=environment, capture_output=True, text=True, check=True
    )
    return ended.stdout.strip()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2])), default=str))
