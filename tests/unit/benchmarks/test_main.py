import json
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import __main__ as program
from benchmarks.cases import BENCHMARKS
from benchmarks.harness import Agreement, Case, Outcome, Side, Skipped
from benchmarks.report import machine, results, table
from benchmarks.scale import QUICK
from benchmarks.workshop import Workshop

TIMED = Outcome(name="a", state="timed", detail="same", peer_name="[p] 1.0", ours=0.5, peer=2.0, rounds=3)
FAILED = Outcome(name="b", state="failed", detail="ValueError: no")
SKIPPED = Outcome(name="c", state="skipped", detail="p is not installed")


@contextmanager
def good(workshop: Workshop) -> Iterator[Case]:
    side = Side(run=lambda: 1)
    yield Case(ours=side, peer=side, peer_name="p", agree=lambda one, other: Agreement(one == other, ""))


@contextmanager
def broken(workshop: Workshop) -> Iterator[Case]:
    raise ValueError("broken on purpose")
    yield


@contextmanager
def absent(workshop: Workshop) -> Iterator[Case]:
    raise Skipped("p is not installed")
    yield


def test_results_have_the_agreed_form() -> None:
    assert results([TIMED, FAILED, SKIPPED]) == {
        "a": {"ours": 0.5, "peer": 2.0, "peer_name": "[p] 1.0", "ratio": 4.0, "agree": True},
        "b": {"ours": None, "peer": None, "peer_name": "", "ratio": None, "agree": False},
    }


def test_the_machine_is_described_without_a_path() -> None:
    described = machine(QUICK, [TIMED, SKIPPED])
    assert described["versions"]["numpy"]
    assert described["cpu_count"] >= 1
    assert described["scale"]["side"] == QUICK.side
    assert described["skipped"] == {"c": "p is not installed"}
    assert described["rounds"] == {"a": 3}
    assert str(Path.cwd()) not in json.dumps(described)


def test_the_table_shows_every_outcome_with_its_reason() -> None:
    text = StringIO()
    table([TIMED, FAILED, SKIPPED], Console(file=text, width=120))
    for part in ("[p] 1.0", "4.0", "same", "FAILED", "ValueError: no", "p is not installed"):
        assert part in text.getvalue()


@pytest.mark.parametrize(("names", "code"), [(["good"], 0), (["good", "absent"], 0), (["broken", "good"], 1)])
def test_one_failure_decides_the_exit_code_and_stops_nobody(
    names: list[str], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "BENCHMARKS", {"good": good, "broken": broken, "absent": absent})
    output = tmp_path / "results" / "latest.json"
    assert program.main([*names, "--quick", "--output", str(output)]) == code
    written = json.loads(output.read_text())
    assert written["good"]["agree"] is True
    assert set(written) == set(names) - {"absent"}
    assert json.loads((output.parent / "machine.json").read_text())["scale"]["name"] == "quick"


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refusal:
        program.main(["calibrated"])
    assert refusal.value.code == 2
    assert "no benchmark calibrated; there are calibrate," in capsys.readouterr().err


def test_all_promised_names_are_there() -> None:
    assert set(BENCHMARKS) >= {
        "calibrate", "cosmic_ray", "combine", "detect", "detect_photutils", "solve_ladder",
        "solve_hint", "solve_blind", "chain", "append_sqlite", "append_postgres", "lightcurve_sqlite",
        "lightcurve_postgres", "cone_sqlite", "cone_postgres",
    }  # fmt: skip
