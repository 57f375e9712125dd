"""The table of faults in docs/operations.md is that of the cases that there are."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from types import ModuleType

from tests.faults.cases import CASES
from tests.faults.service_cases import AT_FIRST, MEANWHILE
from tests.faults.site import Rows, different
from tests.faults.soak import RESULTS, figures
from tests.faults.test_night_outside import CASES as OUTSIDE

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "operations.md"
NIGHT, NIGHT_OUTSIDE = "test_night", "test_night_outside"
ELSEWHERE = {
    f"tests.{place.replace('/', '.')}": place
    for place in ("e2e/test_watch", "unit/service/test_worker", "unit/astrometry/test_solve_field")
}
"""Tests of real processes that stand where what they test does."""


def marked(module: ModuleType) -> list[str]:
    """Return the faults that a module's tests bear as their marks."""
    return [
        fault
        for name, test in vars(module).items()
        if name.startswith("test_")
        for mark in getattr(test, "pytestmark", [])
        if mark.name == "fault"
        for fault in mark.args
    ]


def tried() -> set[tuple[str, str]]:
    """Return fault and module of each case."""
    shared = [*(case.name for case in CASES), *AT_FIRST, *MEANWHILE]
    places = [path.stem for path in HERE.glob("test_soak_*.py")]
    modules = {f"tests.faults.{place}": place for place in places} | ELSEWHERE
    alone = [(name, place) for module, place in modules.items() for name in marked(import_module(module))]
    assert len(alone) == len(set(alone)), "a fault is marked twice"
    nights = {(name, NIGHT) for name in shared} | {(name, NIGHT_OUTSIDE) for name in OUTSIDE}
    return nights | set(alone)


def test_each_fault_is_tried_whenever_the_tests_are() -> None:
    assert {name for name, place in tried() if not place.startswith("test_soak")} == {
        name for name, _ in tried()
    }


def table() -> list[tuple[str, ...]]:
    lines = PAGE.read_text().split("| fault |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]


def test_the_table_names_all_faults_and_where_each_is_tried() -> None:
    told = {(name, module) for name, *modules in table() for module in modules if module}
    assert told == tried()


def test_there_are_at_least_thirty_faults_each_named_once() -> None:
    names = [name for name, *_ in table()]
    assert len(names) == len(set(names)) >= 30


def test_a_soak_of_every_fault_is_kept_and_has_lost_and_doubled_nothing() -> None:
    kept = json.loads(RESULTS.read_text())
    soaks = {name for name, place in tried() if place.startswith("test_soak")}
    assert kept.keys() == soaks
    passed = {name: row for name, row in kept.items() if row["outcome"] == "passed"}
    assert all(row["lost"] == row["doubled"] == 0 and row["worst_mmag"] < 0.1 for row in passed.values())
    assert not [name for name, row in kept.items() if row["outcome"] == "failed"]


def test_what_is_lost_doubled_or_another_magnitude_is_seen() -> None:
    kept, lost, doubled = (("light.fits", "aperture", number) for number in range(3))
    expected: Rows = {kept: (7, 15.0), lost: (8, 16.0)}
    found: Rows = {kept: (7, 15.0002), doubled: (8, 16.0)}
    assert figures(expected, found) == (1, 1, 0.2)
    assert len(different(expected, found)) == 3
    assert different(expected, {kept: (7, 15.00005), lost: (8, 16.0)}) == []
