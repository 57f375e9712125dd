"""What the demo's night came to, beside the truth."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightflow.config import Settings
from nightflow.errors import NightflowError
from nightflow.lightcurves.light_curve import LightCurve
from nightflow.products.lightcurve_plot import plot
from nightflow.products.lightcurve_table import write
from nightflow.robust import robust_sigma
from nightflow.service.unshown import count_shown
from nightflow.store.database import Database
from nightflow.store.models import State
from nightflow.store.overview import counts, frame_rows
from nightflow.store.queries import find_source, light_curve

__all__ = ["DemoReport", "conclude", "describe"]

_MOST_SIGMA = 3.0
"""Errors of the depth by which it may miss the truth."""
_LARGEST_ERROR = 0.005
"""Of the depth, fraction of the light: a night that tells less of the transit is at fault."""


@dataclass(frozen=True, kw_only=True)
class DemoReport:
    """What the night came to.

    Attributes
    ----------
    states : dict of str to int
        Exposures in each state.
    depth, true_depth : float
        Fraction of light missing in the middle of the transit, median in against median out.
    depth_error : float
        1 sigma of ``depth``, from the scatter out of transit.
    scatter : float
        Robust scatter of the light curve out of transit, magnitudes.
    seconds_per_frame : float
        Median time of one light from identification to the last row.
    runs : int
        Flow runs under the deployment, as the Prefect server counts them.
    listed : int
        Exposures that were late, or met the server away: catch-up runs list them.
    plot, table : Path
        The light curve.
    url : str
        Where the UI was.
    """

    states: dict[str, int]
    depth: float
    true_depth: float
    depth_error: float
    scatter: float
    seconds_per_frame: float
    runs: int
    listed: int
    plot: Path
    table: Path
    url: str

    @property
    def faults(self) -> list[str]:
        """What is not as it should be; empty after a good night."""
        unfinished = {state: n for state, n in self.states.items() if n and state != State.DONE}
        found = [f"{number} exposures are {state}" for state, number in unfinished.items()]
        if not self.depth_error <= _LARGEST_ERROR:  # NaN is a fault, too
            found.append(f"the depth is known to {self.depth_error:.2%} only")
        elif not abs(self.depth - self.true_depth) <= _MOST_SIGMA * self.depth_error:
            found.append(
                f"depth {self.depth:.2%} +- {self.depth_error:.2%}, the truth is {self.true_depth:.2%}"
            )
        shown, total = self.runs + self.listed, sum(self.states.values())
        if shown < total:
            found.append(f"Prefect shows {shown} of {total} exposures only")
        return found


def conclude(
    settings: Settings, folder: Path, *, runs: int, catch_up_runs: Collection[str], url: str
) -> DemoReport:
    """Read the light curve, and only now the truth.

    Parameters
    ----------
    settings : Settings
        Of the demo's folder.
    folder : Path
        Where the truth is, and the light curve goes.
    runs : int
        Under the live deployment.
    catch_up_runs : collection of str
        Runs that list what had none of its own.
    url : str
        Of the Prefect API.

    Raises
    ------
    NightflowError
        The transit's star is not in the store.
    """
    truth = json.loads((folder / "simulated" / "truth.json").read_text())
    target = truth["target"]
    with Database(settings.store_url) as database:
        states = {str(state): number for state, number in counts(database).items()}
        seconds = [row["seconds"] for row in frame_rows(database) if row["seconds"]]
        found = find_source(database, target["ra"], target["dec"])
        if found is None or found.source.id is None:
            raise NightflowError(f"the transit's star was not measured; see {settings.root / 'watch.log'}")
        curve = light_curve(database, found.source.id)
        listed = count_shown(database, by=catch_up_runs)
    png, csv = folder / "transit.png", folder / "transit.csv"
    plot(curve, png, title=str(target["name"]))
    write(curve, csv)
    measured, true, error, scatter = _compare(curve, truth)
    return DemoReport(
        states=states,
        depth=measured,
        true_depth=true,
        depth_error=error,
        scatter=scatter,
        seconds_per_frame=float(np.median(seconds)) if seconds else float("nan"),
        runs=runs,
        listed=listed,
        plot=png,
        table=csv,
        url=url.removesuffix("/api"),
    )


def _compare(curve: LightCurve, truth: dict[str, Any]) -> tuple[float, float, float, float]:
    """Return the depth measured, the true one on the same frames, the error, the scatter out of transit."""
    true_flux = {frame["name"]: frame["target_flux"] for frame in truth["frames"] if frame["kind"] == "light"}
    flux = np.array([true_flux[Path(path).name] for path in curve["frame"]])
    mags = np.asarray(curve["diff_mag"], float)
    full = float(flux.max())
    outside = flux > full - 1e-6
    inside = flux < full - 0.95 * (full - float(flux.min()))
    scatter = robust_sigma(mags[outside])
    # Of the difference of two medians.
    error = np.sqrt(np.pi / 2 * (1 / inside.sum() + 1 / outside.sum())) * scatter * np.log(10) / 2.5
    return (
        _depth(mags, inside, outside),
        _depth(-2.5 * np.log10(flux), inside, outside),
        float(error),
        scatter,
    )


def describe(report: DemoReport) -> list[str]:
    """Return the summary that ends the demo."""
    states = ", ".join(f"{number} {state}" for state, number in report.states.items() if number)
    listed = f", {report.listed} late exposures listed by catch-up runs" if report.listed else ""
    return [
        "",
        f"exposures      {states}",
        f"Prefect runs   {report.runs} under ingest-exposure/live{listed}",
        f"time a light   {report.seconds_per_frame:.2f} s (median of the steps)",
        f"transit depth  {report.depth:.2%} +- {report.depth_error:.2%}   truth {report.true_depth:.2%}",
        f"scatter        {1e3 * report.scatter:.1f} mmag out of transit",
        f"light curve    {report.plot}",
        f"               {report.table}",
        f"was live at    {report.url}",
    ]


def _depth(mags: NDArray[np.float64], inside: NDArray[np.bool_], outside: NDArray[np.bool_]) -> float:
    drop = np.nanmedian(mags[inside]) - np.nanmedian(mags[outside])
    return float(1 - 10 ** (-0.4 * drop))
