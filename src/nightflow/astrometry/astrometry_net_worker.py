"""The astrometry.net solver in a process of its own: a request as JSON on stdin, the answer on stdout.

    python -m nightflow.astrometry.astrometry_net_worker < request.json > answer.json

The ``astrometry`` wheel is GPL-3 and has no time limit; this is the only module that imports it, and
nightflow only ever runs this module as a program. Request: ``stars`` ([[x, y], ...], 1-based, brightest
first), ``index_files``, ``scale`` ([low, high] arcsec per pixel or null), ``position`` ([ra, dec, radius]
degrees or null), ``parity`` ("normal", "flip" or "both"), ``time_limit`` (seconds of CPU time). Answer:
``matches``, each with ``logodds`` and ``cards`` (keyword -> value of a TAN WCS); or ``error``.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

__all__ = ["main", "solve"]

_LOGODDS = 14.0
"""Low on purpose: what comes out is verified against the catalogue anyway."""
_MATCHES = 5
_WALL_OVER_CPU = 5
"""The parent ends it sooner."""


def solve(request: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to ``request``; see the module's docstring."""
    try:
        import astrometry
    except ImportError as error:
        return {
            "error": f"the astrometry wheel is not installed ({error}); pip install 'nightflow[astrometry]'"
        }
    scale, position = request["scale"], request["position"]
    parity = {
        "normal": astrometry.Parity.NORMAL,
        "flip": astrometry.Parity.FLIP,
        "both": astrometry.Parity.BOTH,
    }
    with astrometry.Solver([Path(file) for file in request["index_files"]]) as solver:
        solution = solver.solve(
            stars=request["stars"],
            size_hint=astrometry.SizeHint(*scale) if scale else None,
            position_hint=astrometry.PositionHint(*position) if position else None,
            solution_parameters=astrometry.SolutionParameters(
                sip_order=0,
                tune_up_logodds_threshold=None,
                output_logodds_threshold=_LOGODDS,
                parity=parity[request["parity"]],
                # the first good match ends the search; the caller verifies it
                logodds_callback=lambda found: astrometry.Action(len(found) < 1),
            ),
        )
    return {"matches": [_plain(match) for match in solution.matches[:_MATCHES]]}


def main() -> int:
    """Answer one request from stdin; return the exit status."""
    # the C library prints to stdout as it pleases: keep the real one for the answer
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    request = json.load(sys.stdin)
    # a crash leaves no file where we happen to run
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # CPU time: that of a loaded machine is as long. SIGPROF ends the process from inside the C code, too
    signal.setitimer(signal.ITIMER_PROF, request["time_limit"])
    # should the parent be gone by then
    signal.alarm(int(_WALL_OVER_CPU * request["time_limit"]) + 5)
    with answers:
        json.dump(solve(request), answers)
    return 0


def _plain(match: Any) -> dict[str, Any]:
    return {
        "logodds": float(match.logodds),
        "cards": {key: value for key, (value, _) in match.wcs_fields.items()},
    }


if __name__ == "__main__":
    sys.exit(main())
