"""A list of stars without pointing and scale: our solver ladder and solve-field."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks import peers
from benchmarks.cases.solve_hint import agree, hinted_request, solve_field
from benchmarks.harness import Case, Side
from benchmarks.workshop import Workshop
from nightflow.astrometry.ladder import solve

__all__ = ["solve_blind_case"]


@contextmanager
def solve_blind_case(workshop: Workshop) -> Iterator[Case]:
    """The stars of the light frame without a hint; both sides search the one index file, ours verifies too.

    Raises
    ------
    Skipped
        solve-field is not installed: the embedded solver would be measured against itself.
    """
    request = replace(hinted_request(workshop), ra=None, dec=None, scale=None)
    catalogs, settings = workshop.catalogs, workshop.profile.astrometry
    program = peers.program("solve-field")
    with tempfile.TemporaryDirectory(dir=workshop.folder) as name:
        yield Case(
            ours=Side(run=lambda: solve(request, catalogs, settings).wcs),
            peer=Side(run=lambda: solve_field(program, request, Path(name))),
            peer_name="solve-field: the same stars, no hint, one index file",
            agree=lambda ours, theirs: agree(ours, theirs, request.shape),
        )
