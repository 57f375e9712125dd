"""`python -m benchmarks.live [CASE...]`: how long after its file is closed a frame is in the store."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.harness import Skipped
from benchmarks.live.cases import CASES, Options, Run, Workshops
from benchmarks.live.plot import plot
from benchmarks.report import hardware
from nightflow.commands.signals import exit_on_signals
from nightflow.errors import NightflowError

RESULTS = Path(__file__).parent.parent / "results" / "live.json"


@exit_on_signals()
def main(arguments: Sequence[str] | None = None) -> int:
    """Run cases one after another, print and write each; return 1 where a bar is missed or a case failed."""
    parser = _parser()
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(CASES))
    if unknown:
        parser.error(f"no case {', '.join(unknown)}; there are {', '.join(CASES)}")
    asked = Options(frames=options.frames, cadence=options.cadence, backfill=options.backfill)
    console, wrong = Console(), False
    with Workshops() as workshops:
        for name in options.names or CASES:
            console.print(f"{name} ...")
            load = os.getloadavg()[0]
            try:
                run = CASES[name].run(workshops, asked)
            except Skipped as reason:
                console.print(f"{name}: skipped, {reason}", markup=False)
                continue
            except NightflowError as error:
                console.print(f"{name}: failed, {error}", markup=False)
                wrong = True
                continue
            run.figures.update(machine=hardware() | {"load_before": round(load, 2)}, at=_now())
            write(name, run, options.output)
            _show(name, run, console)
            wrong |= not all(bar.is_kept for bar in run.bars)
    return int(wrong)


def write(name: str, run: Run, output: Path) -> None:
    """Put a case into the file of results, beside the others, and draw it; a reader never sees half of it."""
    output.parent.mkdir(parents=True, exist_ok=True)
    known: dict[str, Any] = json.loads(output.read_text()) if output.is_file() else {}
    partial = output.with_suffix(".part")
    partial.write_text(json.dumps(known | {name: _plain(run.figures)}, indent=1, allow_nan=False) + "\n")
    picture = output.with_name(f"{output.stem}_{name}.png")
    drawing = picture.with_suffix(".part.png")
    plot(name, run, drawing)
    drawing.replace(picture)
    partial.replace(output)


def _plain(value: Any) -> Any:
    """Return figures for people and JSON: to a ten-thousandth, null for what is no number."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, float):
        return round(value, 4) if value == value else None
    return value


def _show(name: str, run: Run, console: Console) -> None:
    table = Table(title=name, title_justify="left")
    for column in ("", "p50", "p95", "p99", "max"):
        table.add_column(column, justify="right" if column else "left")
    for label, part in _parts(run):
        for what in ("seconds", "orchestration"):
            figures = part[what]
            table.add_row(
                f"{label} {what}".strip(), *(f"{figures[key]:.2f}" for key in ("p50", "p95", "p99", "max"))
            )
    console.print(table)
    for bar in run.bars:
        verdict = "kept" if bar.is_kept else "MISSED"
        line = f"{bar.what}: {bar.value:.3f}, at most {bar.limit:g}: {verdict}"
        console.print(line, highlight=False, markup=False)


def _parts(run: Run) -> list[tuple[str, dict[str, Any]]]:
    if "seconds" in run.figures:
        return [("", run.figures)]
    return [(label, run.figures[label]) for label in ("alone", "beside")]


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--frames", type=int, help="that land (default: by case)")
    parser.add_argument("--cadence", type=float, help="seconds from one to the next (default: by case)")
    parser.add_argument(
        "--backfill", type=int, default=500, help="frames of the backfill (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, default=RESULTS, help="default: %(default)s")
    return parser


if __name__ == "__main__":
    sys.exit(main())
