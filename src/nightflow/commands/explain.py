"""`explain`: why a frame came out as it did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from nightflow.commands.common import (
    ConfigOption,
    ReportFormat,
    console,
    only_exposure,
    open_store,
    print_json,
    printable,
)
from nightflow.instruments.registry import load_profiles
from nightflow.pipeline.explain import ExposureStory, FrameStory
from nightflow.pipeline.explain import explain as tell
from nightflow.pipeline.explain_masters import MasterStory
from nightflow.store.models import State

__all__ = ["explain"]

_WIDTH = 12


def explain(
    frame: Annotated[str, typer.Argument(help="Path, file name, part of a path, or number of an exposure.")],
    config: ConfigOption = None,
    output: Annotated[ReportFormat, typer.Option("--format", help="How to print.")] = ReportFormat.TABLE,
) -> None:
    """Tell which masters a frame got and why, its solution, its zero point, and every flag."""
    with open_store(config) as (settings, database):
        exposure = only_exposure(database, frame)
        profiles = load_profiles(settings.resolve(settings.paths.cameras))
        story = tell(database, {profile.name: profile for profile in profiles}, exposure)
    if output is ReportFormat.JSON:
        print_json(story.as_dict())
        return
    for line in describe(story):
        console.print(printable(line), markup=False, soft_wrap=True)


def describe(story: ExposureStory) -> list[str]:
    """Return the story as lines for a person."""
    exposure = story.exposure
    lines = [
        exposure["path"],
        _line(
            "exposure", f"number {exposure['id']}, {exposure['size']} bytes, sha256 {exposure['sha256'][:16]}"
        ),
        _line("state", _state(exposure, [line for one in story.frames for line in _told(one)])),
        _line("received", f"{exposure['received_at']:%Y-%m-%d %H:%M:%S} UTC{_until(exposure)}"),
    ]
    if not story.frames:
        copy = exposure["state"] == State.DUPLICATE
        why = "another file has the same content" if copy else "the file was never recognised"
        lines.append(_line("frames", f"none: {why}"))
    for frame in story.frames:
        lines += ["", *_frame_lines(frame)]
    return lines


def _frame_lines(story: FrameStory) -> list[str]:
    frame = story.frame
    lines = [
        f"frame {frame['id']}: detector {frame['detector']}, HDU {frame['hdu']}, {_what(frame)}",
        _line("state", _state(frame, story.warnings)),
        _line(
            "time",
            f"night {frame['night'] or '?'}, MJD {_number(frame['mjd_mid'], 6)}, {frame['exptime']:g} s",
        ),
        _line("camera", _camera(frame)),
    ]
    lines += [_line("into master", name) for name in story.went_into]
    for master in story.masters:
        lines += _master_lines(master)
    lines += _result_lines(story)
    missing = "; ".join(master.why for master in story.masters if master.used is None)
    lines += [_line("warning", warning) for warning in story.warnings if warning not in missing]
    if frame["traceback"]:
        lines += ["traceback:", *frame["traceback"].rstrip().splitlines()]
    return lines


def _master_lines(story: MasterStory) -> list[str]:
    if story.used is None:
        lines = [_line(story.kind, f"({story.policy}) {story.why}")]
    else:
        used = story.used
        what = f"{used['fingerprint'][:12]}, {used['n_inputs']} inputs, {used['state']}, {used['path']}"
        lines = [_line(story.kind, what), _line("", f"why: {story.why}")]
        lines += [_line("", f"note on this master: {warning}") for warning in used["warnings"]]
    if story.now:
        lines.append(_line("", f"but: {story.now}"))
    return lines + [_line("", f"not: {out}") for out in story.ruled_out]


def _result_lines(story: FrameStory) -> list[str]:
    lines = []
    if story.measures:
        lines.append(_line("measured", _pairs(story.measures)))
    if story.versions:
        lines.append(_line("wcs", _wcs(story.wcs) if story.wcs else "none"))
        lines.append(_line("zero point", _zero_point(story.flux) if story.flux else "none"))
        lines.append(_line("flags", f"{story.measurements} measurements, {story.unflagged} without a flag"))
    lines += [_line("", f"{flag.measurements} {flag.flag}: {flag.meaning}") for flag in story.flags]
    if story.timings:
        steps = ", ".join(f"{step} {seconds:.2f}" for step, seconds in story.timings.items())
        lines.append(_line("seconds", f"{sum(story.timings.values()):.2f}: {steps}"))
    for version in story.versions:
        current = "current" if version["current"] else "superseded"
        made = f"{version['created_at']:%Y-%m-%d %H:%M:%S}"
        lines.append(_line(f"version {version['version']}", f"{current}, {made} UTC, {version['software']}"))
    return lines


def _wcs(wcs: dict[str, Any]) -> str:
    return (
        f'{wcs["wcs_quality"]} by {wcs["wcs_backend"]}: rms {_number(wcs["wcs_rms_arcsec"], 3)}" on '
        f'{wcs["wcs_n_matched"]} stars, held-out rms {_number(wcs["wcs_heldout_rms_arcsec"], 3)}"; centre '
        f'{_number(wcs["ra_center"], 5)} {_number(wcs["dec_center"], 5)}, {_number(wcs["scale"], 4)}"/px, '
        f"rotation {_number(wcs['rotation'], 2)} deg, parity {wcs['parity']}{_evidence(wcs)}"
    )


def _evidence(wcs: dict[str, Any]) -> str:
    """Return what a verified WCS was verified by; "" for others."""
    if wcs["wcs_n_expected"] is None:
        return ""
    lent = wcs["wcs_distortion"]
    return (
        f"; {wcs['wcs_n_matched']} of {wcs['wcs_n_expected']} expected stars, "
        f"{_number(wcs['wcs_chance_matches'], 1)} by chance (log false-alarm probability "
        f'{_number(wcs["wcs_log_false_alarm"], 0)}); corners to {_number(wcs["wcs_corner_err_arcsec"], 3)}"'
        + (f", with distortion {lent[:12]} of other frames" if lent else "")
    )


def _zero_point(flux: dict[str, Any]) -> str:
    return (
        f"{_number(flux['zp'], 4)} +- {_number(flux['zp_err'], 4)} ({flux['mag_system']} {flux['zp_band']}) "
        f"for 1 electron/s, {_number(flux['zp_adu'], 4)} for 1 ADU/s; "
        f"{_origin(flux)}; {_color_term(flux)}; 5 sigma depth {_number(flux['depth_5sigma'], 2)}"
    )


def _origin(flux: dict[str, Any]) -> str:
    stars = f"{flux['zp_n_stars']} stars of {flux['zp_catalog']}"
    if flux["zp_origin"] == "night":
        return f"lent by the night, {stars} on the frame itself"
    return f"own fit from {stars}, scatter {_number(flux['zp_scatter'], 3)}"


def _color_term(flux: dict[str, Any]) -> str:
    if flux["color_term"] is None:
        return "no colour term"
    return f"colour term {flux['color_term']:.3f} +- {_number(flux['color_term_err'], 3)}"


def _what(frame: dict[str, Any]) -> str:
    return " ".join(str(part) for part in (frame["kind"], frame["object"], frame["filter"]) if part)


def _camera(frame: dict[str, Any]) -> str:
    temperature = f", {frame['ccd_temp']:g} C" if frame["ccd_temp"] is not None else ""
    airmass = f", airmass {frame['airmass']:.3f}" if frame["airmass"] is not None else ""
    size = f"{frame['nx']} x {frame['ny']} px, binning {frame['binning']}"
    return f"{frame['instrument']}, {size}{temperature}{airmass}"


def _told(story: FrameStory) -> tuple[str, ...]:
    """Return what the lines of a frame say of it."""
    return (*story.warnings, str(story.frame["reason"]))


def _state(row: dict[str, Any], told: Sequence[str]) -> str:
    """Return a state and its reason, without what other lines tell: once is enough."""
    reason, state = str(row["reason"]), str(row["state"])
    left = reason
    for text in sorted(filter(None, told), key=len, reverse=True):
        left = left.replace(text, "")
    left = "; ".join(filter(None, (part.strip() for part in left.split(";"))))
    if left == "" and reason:
        return f"{state}, with the warnings below" if state == State.DONE else f"{state}, see below"
    return f"{state}: {left}" if left else state


def _until(exposure: dict[str, Any]) -> str:
    done = exposure["done_at"]
    return f", settled {done:%Y-%m-%d %H:%M:%S} UTC" if done is not None else ""


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in values.items()
        if value is not None
    )


def _number(value: float | None, digits: int) -> str:
    return "unknown" if value is None else f"{value:.{digits}f}"


def _line(label: str, text: str) -> str:
    return f"  {label:<{_WIDTH}}{text}"
