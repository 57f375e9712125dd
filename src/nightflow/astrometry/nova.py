"""The rung `nova`: the service nova.astrometry.net on our star list, by astroquery in a process of its own.

It is off unless there is a key. Star places and the hints leave the house, no pixel does. The service may be
away, slow, or answer anything: the process has a limit of wall time, and its answer is no more than a claim
(`nightflow.astrometry.outside`). The key goes to the process by its input, never by its arguments, and is
taken out of whatever is said.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from nightflow.astrometry.outside import attempts, believed, require_verifiable, scale_range, star_places
from nightflow.astrometry.solution import Solution, SolveRequest
from nightflow.catalogs.local import LocalCatalogs
from nightflow.errors import NoSolution
from nightflow.external import Finished, ProgramError, run_bounded, scratch_folder, without
from nightflow.instruments.profile import AstrometrySettings

__all__ = ["NOVA_URL", "WORKER", "NovaAccess", "solve_nova"]

NOVA_URL = "https://nova.astrometry.net"

WORKER = (sys.executable, "-m", "nightflow.astrometry.nova_worker")

_LONGEST_ANSWER = 2**20
_START = 30.0
"""Seconds for the process to start and to end, beyond what the service may take."""


@dataclass(frozen=True, kw_only=True)
class NovaAccess:
    """How the service is reached.

    Attributes
    ----------
    key : str
        The account's API key; never shown.
    url : str
        Of the service.
    seconds : float
        Wall time for one frame, its place in the service's queue included.
    """

    key: str = field(default="", repr=False)
    url: str = NOVA_URL
    seconds: float = 120.0


def solve_nova(
    request: SolveRequest,
    catalogs: LocalCatalogs,
    settings: AstrometrySettings,
    access: NovaAccess,
    command: Sequence[str] = WORKER,
) -> Solution:
    """Solve a frame with nova.astrometry.net: one question, with the hints where there are any; then verify.

    Parameters
    ----------
    request : SolveRequest
        ``scale`` narrows the search where known, ``ra`` and ``dec`` too.
    catalogs : LocalCatalogs
        Reference stars for the verification.
    settings : AstrometrySettings
        The bar a solution must pass.
    access : NovaAccess
        Without a key nothing is sent.
    command : sequence of str
        The process that asks.

    Raises
    ------
    NoSolution
        No key, no catalogue, no answer in time, an answer that is none, or nothing that verifies.
    """
    if not access.key:
        raise NoSolution("no key: set NIGHTFLOW_ASTROMETRY__NOVA_KEY to that of your account")
    require_verifiable(request, catalogs, settings)
    try:
        with scratch_folder("nightflow-nova-") as folder:
            question = json.dumps(_question(request, access))
            limit = access.seconds + _START
            done = run_bounded(
                command,
                seconds=limit,
                folder=folder,
                stdin=question,
                kept=2 * _LONGEST_ANSWER,
                secrets=[access.key],
            )
        claim = _claim(done, access.key)
    except (ProgramError, NoSolution) as error:
        # no chain: what was raised first may hold what the service or the process said of the key
        raise NoSolution(without(access.key, str(error))) from None
    return believed(claim, request, catalogs, settings, backend="nova")


def _question(request: SolveRequest, access: NovaAccess) -> dict[str, Any]:
    ny, nx = request.shape
    return {
        "url": access.url,
        "key": access.key,
        "seconds": access.seconds,
        "stars": star_places(request).tolist(),
        "shape": [nx, ny],
        "scale": scale_range(request),
        "position": attempts(request)[0].position,
    }


def _claim(done: Finished, key: str) -> fits.Header:
    if done.status != 0:
        raise NoSolution(f"the process that asks failed with status {done.status}: {done.last_words}")
    try:
        answer = json.loads(done.stdout)
        error, text = answer.get("error"), answer.get("header")
    except (ValueError, AttributeError) as error:
        # its end: of a long answer the beginning is cut already
        raise NoSolution(f"the process that asks answered no JSON: {done.stdout[-300:]!r}") from error
    if error is not None:
        # before it is cut: half a key would be found no more
        raise NoSolution(" ".join(without(key, str(error)).split())[:300])
    if not text:
        raise NoSolution("the service found no solution")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            return fits.Header.fromstring(str(text)[:_LONGEST_ANSWER])
    except (OSError, ValueError, TypeError, fits.VerifyError) as error:
        raise NoSolution(f"its WCS cannot be read: {error}") from error
