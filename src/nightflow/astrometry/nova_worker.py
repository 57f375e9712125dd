"""One question to nova.astrometry.net in a process of its own: JSON on stdin, the answer as JSON on stdout.

    python -m nightflow.astrometry.nova_worker < question.json > answer.json

astroquery waits for each answer of the service as long as the service likes; a process can be ended.
Question: ``url``, ``key``, ``seconds``, ``stars`` ([[x, y], ...], 1-based, brightest first), ``shape``
([nx, ny]), ``scale`` ([low, high] arcsec per pixel or null), ``position`` ([ra, dec, radius] degrees or
null). Answer: ``header``, the WCS as FITS cards, empty where the service found none; or ``error``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

__all__ = ["answer", "ask", "main"]

_GRACE = 10


def ask(question: dict[str, Any]) -> dict[str, Any]:
    """Return the WCS that the service has for ``question``; see the module's docstring.

    Raises
    ------
    Exception
        Whatever service, network or astroquery raise.
    """
    from astroquery import cache_conf
    from astroquery.astrometry_net import AstrometryNetClass

    # an answer that is kept would be another submission's
    cache_conf.cache_active = False
    service = AstrometryNetClass()
    service.URL = question["url"].rstrip("/")
    service.API_URL = f"{service.URL}/api"
    service.TIMEOUT = question["seconds"]
    service.api_key = question["key"]
    places, (nx, ny) = question["stars"], question["shape"]
    header = service.solve_from_source_list(
        [x for x, _ in places],
        [y for _, y in places],
        nx,
        ny,
        solve_timeout=question["seconds"],
        verbose=False,
        **_settings(question),
    )
    return {"header": header.tostring() if header else ""}


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Return the answer of `ask`, or the error that it ended in."""
    try:
        return ask(question)
    except Exception as error:  # noqa: BLE001  # service, network and astroquery raise what they like
        return {"error": f"{type(error).__name__}: {error}"}


def main() -> int:
    """Answer one question from stdin; return the exit status."""
    # whatever a library prints stays out of the answer
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    question = json.load(sys.stdin)
    # should the parent be gone by then
    signal.alarm(int(question["seconds"]) + 2 * _GRACE)
    with answers:
        json.dump(answer(question), answers)
    return 0


def _settings(question: dict[str, Any]) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "publicly_visible": "n",
        "allow_modifications": "n",
        "allow_commercial_use": "n",
        "crpix_center": True,
        # the distortion is fitted by us
        "tweak_order": 0,
    }
    if question["scale"] is not None:
        low, high = question["scale"]
        settings |= {
            "scale_type": "ul",
            "scale_units": "arcsecperpix",
            "scale_lower": low,
            "scale_upper": high,
        }
    if question["position"] is not None:
        ra, dec, radius = question["position"]
        settings |= {"center_ra": ra, "center_dec": dec, "radius": radius}
    return settings


if __name__ == "__main__":
    sys.exit(main())
