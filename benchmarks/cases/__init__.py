"""All benchmarks by name. Each makes a `benchmarks.harness.Case` out of a workshop."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from benchmarks.cases.append import (
    append_postgres,
    append_postgres_pandas,
    append_sqlite,
    append_sqlite_pandas,
)
from benchmarks.cases.calibrate import calibrate_case
from benchmarks.cases.chain import chain_case
from benchmarks.cases.combine import combine_case
from benchmarks.cases.cosmic_ray import cosmic_ray_case
from benchmarks.cases.detect import detect_case
from benchmarks.cases.detect_photutils import detect_photutils_case
from benchmarks.cases.psf import psf_case
from benchmarks.cases.questions import (
    cone_postgres,
    cone_sqlite,
    lightcurve_postgres,
    lightcurve_sqlite,
)
from benchmarks.cases.solve_blind import solve_blind_case
from benchmarks.cases.solve_hint import solve_hint_case, solve_ladder_case
from benchmarks.harness import Case
from benchmarks.workshop import Workshop

__all__ = ["BENCHMARKS"]

BENCHMARKS: dict[str, Callable[[Workshop], AbstractContextManager[Case]]] = {
    "calibrate": calibrate_case,
    "cosmic_ray": cosmic_ray_case,
    "combine": combine_case,
    "detect": detect_case,
    "detect_photutils": detect_photutils_case,
    "psf": psf_case,
    "solve_ladder": solve_ladder_case,
    "solve_hint": solve_hint_case,
    "solve_blind": solve_blind_case,
    "chain": chain_case,
    "append_sqlite": append_sqlite,
    "append_postgres": append_postgres,
    "append_sqlite_pandas": append_sqlite_pandas,
    "append_postgres_pandas": append_postgres_pandas,
    "lightcurve_sqlite": lightcurve_sqlite,
    "lightcurve_postgres": lightcurve_postgres,
    "cone_sqlite": cone_sqlite,
    "cone_postgres": cone_postgres,
}
