"""`python -m benchmarks [NAME...] [--quick | --full] [--output FILE]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks.cases import BENCHMARKS
from benchmarks.harness import Outcome, run_benchmark
from benchmarks.report import table, write
from benchmarks.scale import FULL, QUICK, STANDARD, Scale
from benchmarks.workshop import Workshop

LATEST = Path(__file__).parent / "results" / "latest.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks; return 1 where one failed or its sides disagree."""
    parser = _parser()
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(BENCHMARKS))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    names = options.names or list(BENCHMARKS)
    scale = QUICK if options.quick else FULL if options.full else STANDARD
    outcomes = run(names, scale, Console(stderr=True))
    table(outcomes, Console())
    write(outcomes, scale, options.output)
    return int(any(one.is_bad for one in outcomes))


def run(names: Sequence[str], scale: Scale, console: Console) -> list[Outcome]:
    """Run benchmarks by name, one after another; what several need is made once."""
    outcomes = []
    with Workshop(scale) as workshop:
        for name in names:
            console.print(f"{name} ...", end=" ")
            outcomes.append(run_benchmark(name, partial(BENCHMARKS[name], workshop), seconds=scale.seconds))
            console.print(outcomes[-1].state)
    return outcomes


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Timings beside the peers.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="small frames: a check that all runs, no figures")
    size.add_argument("--full", action="store_true", help="4096 x 4096 pixels, 6,000 stars")
    parser.add_argument("--output", type=Path, default=LATEST, help="default: %(default)s")
    return parser


if __name__ == "__main__":
    sys.exit(main())
