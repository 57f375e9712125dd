from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from nightflow.pipeline.finish import write_if_changed
from nightflow.report.night_plot import draw_night, night_png
from nightflow.report.night_table import COLUMNS, night_csv, with_verdicts
from nightflow.store.overview import FRAME_COLUMNS


def rows(n: int = 4, **changes: Any) -> list[dict[str, Any]]:
    made = []
    for index in range(n):
        row: dict[str, Any] = dict.fromkeys(FRAME_COLUMNS)
        row |= {
            "path": f"/data/{index}.fits", "kind": "light", "object": "M 67", "filter": "VR"[index % 2],
            "state": "done", "mjd_mid": 60000.9 + 0.1 * index, "fwhm_px": 3.0, "ellipticity": 0.1,
            "sky": 50.0, "zp": 22.0, "wcs_quality": "verified",
        }  # fmt: skip
        made.append(row | changes)
    return made


def test_the_table_begins_with_the_verdict() -> None:
    judged = with_verdicts([*rows(3), *rows(1, zp=None)])
    back = list(csv.DictReader(io.StringIO(night_csv(judged))))
    assert tuple(back[0]) == COLUMNS
    assert [row["verdict"] for row in back] == ["pass", "pass", "pass", "fail"]
    assert back[3]["why"] == "zero point: none"
    assert back[0]["airmass"] == ""


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx"])
def test_a_spreadsheet_takes_no_object_for_a_formula(name: str) -> None:
    (back,) = csv.DictReader(io.StringIO(night_csv(with_verdicts(rows(1, object=name)))))
    assert back["object"] == f"'{name}"


def test_negative_numbers_stay_numbers() -> None:
    (back,) = csv.DictReader(io.StringIO(night_csv(with_verdicts(rows(1, dec_center=-12.5)))))
    assert back["dec_center"] == "-12.5"


def test_the_figure_shows_every_measure_of_every_light() -> None:
    judged = with_verdicts([*rows(4), *rows(1, zp=None), *rows(2, kind="bias")])
    figure = draw_night(judged, "2025-10-24")
    assert figure.axes[0].get_title() == "Night of 2025-10-24: 5 light frames, 1 failed"
    points = [sum(len(line.get_xdata()) for line in axes.lines) for axes in figure.axes]
    assert points == [5, 4, 5, 5]
    hours = sorted(float(x) for line in figure.axes[0].lines for x in line.get_xdata())
    assert hours == pytest.approx([21.6, 21.6, 24.0, 26.4, 28.8])


def test_the_same_rows_give_the_same_bytes() -> None:
    judged = with_verdicts(rows())
    assert night_png(judged, "2025-10-24") == night_png(judged, "2025-10-24")
    assert night_png(judged, "2025-10-24") != night_png(judged[:2], "2025-10-24")


@pytest.mark.parametrize("name", ["$\\frac{", "<b>&", "\x00\x1b[31m", "_hidden", "", "ä" * 300])
def test_any_filter_name_is_drawn(name: str) -> None:
    judged = with_verdicts([*rows(2, filter=name), *rows(2, filter="R")])
    assert Image.open(io.BytesIO(night_png(judged, "2025-10-24"))).size[0] > 500


def test_a_night_of_calibrations_only_is_drawn_empty() -> None:
    figure = draw_night(with_verdicts(rows(2, kind="bias")), "2025-10-24")
    assert figure.axes[0].get_title() == "Night of 2025-10-24: 0 light frames, 0 failed"


def test_a_file_that_is_the_same_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.csv"
    assert write_if_changed(path, b"one")
    stamp = path.stat().st_mtime_ns
    assert not write_if_changed(path, b"one")
    assert path.stat().st_mtime_ns == stamp
    assert write_if_changed(path, b"two")
    assert path.read_bytes() == b"two"
    assert [file.name for file in path.parent.iterdir()] == ["a.csv"]
