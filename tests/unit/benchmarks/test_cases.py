"""Each benchmark's agreement holds on a small case, and does not hold once an answer is wrong."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from astropy.nddata import CCDData
from astropy.wcs import WCS

from benchmarks.cases import BENCHMARKS
from benchmarks.cases.other_chain import ChainAnswer
from benchmarks.cases.source_lists import SourceList, compare
from benchmarks.harness import Case, Skipped
from benchmarks.scale import Scale
from benchmarks.workshop import Workshop
from nightflow.store.queries import FoundSource

pytestmark = pytest.mark.xdist_group("benchmarks")

TINY = Scale(
    name="tiny",
    side=640,
    detector_side=640,
    n_bias=8,
    n_stored_frames=12,
    n_stored_stars=60,
    n_stored_sources=500,
    n_append_stars=60,
    n_append_frames=4,
    seconds=0.0,
)


@pytest.fixture(scope="module")
def workshop() -> Iterator[Workshop]:
    with Workshop(TINY) as made:
        yield made


@pytest.fixture
def without_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide programs that may or may not be installed: the peers are then those of the environment."""
    monkeypatch.setattr(shutil, "which", lambda name: None)


def answers(case: Case) -> tuple[Any, Any]:
    return case.ours.once()[0], case.peer.once()[0]


def one_pixel_hit(frame: Any) -> Any:
    flags = frame.flags.copy()
    flags[300, 300:302] ^= 16
    return replace(frame, flags=flags)


def brighter(frame: Any) -> Any:
    return replace(frame, data=frame.data + np.float32(0.5))


def shifted(found: SourceList) -> SourceList:
    return replace(found, x=found.x + 0.4)


def too_bright(found: Any) -> Any:
    return replace(found, flux=1.02 * found.flux)


def turned(wcs: WCS) -> WCS:
    other = wcs.deepcopy()
    other.wcs.crval = np.add(wcs.wcs.crval, [0.0, 4.0 / 3600.0])
    return other


def raised(combined: CCDData) -> CCDData:
    other = combined.copy()
    other.data = combined.data + 5.0
    return other


def fainter(chain: ChainAnswer) -> ChainAnswer:
    return replace(chain, mag=chain.mag + 0.1)


def reversed_order(found: list[FoundSource]) -> list[FoundSource]:
    return found[::-1]


def other_curve(curve: Any) -> Any:
    columns = dict(curve.columns) | {"diff_mag": np.asarray(curve.columns["diff_mag"]) + 0.001}
    return replace(curve, columns=columns)


def next_reduction(appended: tuple[int, int]) -> tuple[int, int]:
    number, reduction = appended
    return number + 1, reduction


# name -> (which answer is falsified: 0 ours, 1 the peer's; how)
WRONG: dict[str, tuple[int, Callable[[Any], Any]]] = {
    "calibrate": (0, brighter),
    "cosmic_ray": (0, one_pixel_hit),
    "combine": (1, raised),
    "detect_photutils": (1, shifted),
    "psf": (0, too_bright),
    "solve_ladder": (0, turned),
    "solve_hint": (1, turned),
    "chain": (1, fainter),
    "append_sqlite": (1, next_reduction),
    "append_postgres": (0, next_reduction),
    "append_sqlite_pandas": (1, next_reduction),
    "append_postgres_pandas": (0, next_reduction),
    "lightcurve_sqlite": (1, other_curve),
    "lightcurve_postgres": (0, other_curve),
    "cone_sqlite": (1, reversed_order),
    "cone_postgres": (0, lambda found: found[:-1]),
}


@pytest.mark.usefixtures("without_programs")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.soak) if name == "psf" else name for name in WRONG]
)
def test_sides_agree_and_a_wrong_answer_is_noticed(workshop: Workshop, name: str) -> None:
    with BENCHMARKS[name](workshop) as case:
        given = list(answers(case))
        agreement = case.agree(*given)
        assert agreement.ok, agreement.detail
        side, falsify = WRONG[name]
        given[side] = falsify(given[side])
        refusal = case.agree(*given)
        assert not refusal.ok, refusal.detail


@pytest.mark.usefixtures("without_programs")
def test_without_source_extractor_the_benchmark_is_skipped(workshop: Workshop) -> None:
    with pytest.raises(Skipped, match="source-extractor is not installed"), BENCHMARKS["detect"](workshop):
        pass


@pytest.mark.usefixtures("without_programs")
def test_without_solve_field_there_is_nothing_to_be_blind_beside(workshop: Workshop) -> None:
    with pytest.raises(Skipped, match="solve-field is not installed"), BENCHMARKS["solve_blind"](workshop):
        pass


@pytest.mark.usefixtures("without_programs")
def test_the_frame_before_is_what_the_ladder_starts_from(workshop: Workshop) -> None:
    with BENCHMARKS["solve_ladder"](workshop) as ladder, BENCHMARKS["solve_hint"](workshop) as hint:
        assert ladder.ours.run is not hint.ours.run
        assert ladder.agree(ladder.ours.once()[0], hint.ours.once()[0]).ok


@pytest.mark.usefixtures("without_programs")
def test_without_solve_field_the_peer_says_that_it_is_another(workshop: Workshop) -> None:
    with BENCHMARKS["solve_hint"](workshop) as case:
        assert "solve-field is not installed" in case.peer_name


@pytest.mark.system
@pytest.mark.parametrize(
    ("name", "program"),
    [
        ("detect", "source-extractor"),
        ("solve_ladder", "solve-field"),
        ("solve_hint", "solve-field"),
        ("solve_blind", "solve-field"),
    ],
)
def test_peers_that_are_programs_agree(workshop: Workshop, name: str, program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    with BENCHMARKS[name](workshop) as case:
        agreement = case.agree(*answers(case))
    assert agreement.ok, agreement.detail
    assert program in case.peer_name


def random_list(n: int = 60) -> SourceList:
    rng = np.random.default_rng(3)
    flux = 10 ** rng.uniform(3.0, 5.0, n)
    row, column = np.divmod(np.arange(n), 8)
    return SourceList(
        x=60.0 + 50.0 * column + rng.uniform(-5, 5, n),
        y=60.0 + 50.0 * row + rng.uniform(-5, 5, n),
        flux=flux,
        flux_err=np.sqrt(flux),
    )


def test_an_aperture_correction_is_no_difference() -> None:
    one = random_list()
    assert compare(one, replace(one, flux=1.07 * one.flux), (560, 560)).ok


@pytest.mark.parametrize(
    "falsify",
    [
        shifted,
        lambda found: replace(found, flux=found.flux * np.linspace(0.9, 1.1, len(found))),
        lambda found: SourceList(**{key: value[::2] for key, value in vars(found).items()}),
    ],
    ids=["places", "fluxes", "missing sources"],
)
def test_lists_that_differ_do_not_agree(falsify: Callable[[SourceList], SourceList]) -> None:
    one = random_list()
    assert compare(one, one, (560, 560)).ok
    assert not compare(one, falsify(one), (560, 560)).ok


def test_nothing_is_no_agreement() -> None:
    empty = SourceList(**{key: value[:3] for key, value in vars(random_list()).items()})
    refusal = compare(empty, empty, (560, 560))
    assert not refusal.ok
    assert "too few" in refusal.detail
