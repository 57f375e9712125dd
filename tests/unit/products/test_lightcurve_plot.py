from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.image import imread

from nightflow.lightcurves.light_curve import LightCurve
from nightflow.products.lightcurve_plot import draw, plot
from tests.unit.products.light_curves import transit


def _axes(curve: LightCurve, **options: str) -> Axes:
    return draw(curve, **options).axes[0]


def _points(axes: Axes, label: str) -> np.ndarray:
    container = next(one for one in axes.containers if one.get_label() == label)
    return np.asarray(container[0].get_xydata())


def test_the_png_is_large_enough_for_a_page(tmp_path: Path) -> None:
    path = tmp_path / "curve.png"
    plot(transit(), path, title="HAT-P-32")
    pixels = imread(path)
    assert pixels.shape[:2] == (840, 1400)
    assert pixels[..., :3].std() > 0.01
    assert [one.name for one in tmp_path.iterdir()] == ["curve.png"]


def test_each_filter_has_its_points_and_flagged_ones_are_open() -> None:
    curve = transit()
    axes = _axes(curve)
    flagged = next(one for one in axes.containers if one.get_label() == "V, unusable pixels")
    assert len(_points(axes, "Clear")) == 20
    assert len(_points(axes, "V")) == 18
    assert flagged[0].get_markerfacecolor() == "none"
    assert _points(axes, "V, unusable pixels")[0, 1] == curve["diff_mag"][7]


def test_time_is_barycentric_with_the_day_taken_off() -> None:
    axes = _axes(transit())
    assert "2458107" in axes.get_xlabel()
    assert "BJD" in axes.get_xlabel()
    assert _points(axes, "Clear")[0, 0] == pytest.approx(0.571234567, abs=1e-9)


def test_without_a_site_time_is_mjd() -> None:
    curve = transit()
    curve.columns["bjd_tdb"] = np.full(40, np.nan)
    assert _axes(curve).get_xlabel() == "MJD (UTC) $-$ 58107"


def test_brighter_is_up() -> None:
    low, high = _axes(transit()).get_ylim()
    assert low > high
    low, high = _axes(transit(), value="flux").get_ylim()
    assert low < high


def test_what_the_curve_has_is_drawn() -> None:
    curve = transit()
    assert _axes(curve).get_ylabel() == "Differential magnitude (mag)"
    curve.columns["diff_mag"] = np.full(40, np.nan)
    assert _axes(curve).get_ylabel() == "Magnitude (Vega V)"
    curve.columns["mag"] = np.full(40, np.nan)
    assert _axes(curve).get_ylabel() == "Flux (electrons/s)"


def test_magnitudes_of_two_bands_are_called_by_none() -> None:
    curve = transit()
    curve.columns["zp_band"] = np.where(np.arange(40) % 2 == 0, "VT", "$V").astype(object)
    assert _axes(curve, value="mag").get_ylabel() == "Magnitude (mag)"


def test_a_flagged_point_does_not_set_the_scale() -> None:
    curve = transit()
    curve.columns["diff_mag"][7] = 5.0
    assert max(_axes(curve).get_ylim()) < 0.1


def test_an_empty_curve_says_so() -> None:
    axes = _axes(transit().take(np.zeros(40, bool)))
    assert [text.get_text() for text in axes.texts] == ["no measurements"]


@pytest.mark.parametrize("name", ["$\\frac{", "a\nb\x00c", "<script>", "x" * 10_000])
def test_hostile_titles_and_filters_are_text(tmp_path: Path, name: str) -> None:
    curve = transit()
    curve.columns["filter"] = np.full(40, name, object)
    plot(curve, tmp_path / "curve.png", title=name)
    assert (tmp_path / "curve.png").stat().st_size > 10_000


def test_a_folded_curve_has_two_cycles_and_names_its_period() -> None:
    curve = transit()
    axes = draw(curve, period=0.1, epoch=2458107.6).axes[0]
    assert axes.get_xlim() == (0.0, 2.0)
    assert "P = 0.1 d" in axes.get_xlabel()
    assert "2458107.60000" in axes.get_xlabel()
    points = np.concatenate([np.asarray(line.lines[0].get_xdata()) for line in axes.containers])
    expected = ((curve["bjd_tdb"] - 2458107.6) / 0.1) % 1.0
    shown = np.isfinite(curve["diff_mag"])
    np.testing.assert_allclose(
        np.sort(points), np.sort(np.concatenate([expected[shown], expected[shown] + 1.0])), atol=1e-6
    )
    labels = [text.get_text() for text in axes.get_figure().legends[0].get_texts()]
    assert len(labels) == len(set(labels))


@pytest.mark.parametrize(
    ("middle", "low", "high"), [(0.14, -0.07, 0.07), (-0.86, 0.43, 0.57), (0.0, 0.0, 0.14)]
)
def test_a_transit_folded_with_its_period_fills_the_figure(middle: float, low: float, high: float) -> None:
    # 0.28 days of a period of 2: a seventh of a cycle.
    curve = transit()
    shown = np.isfinite(curve["diff_mag"])
    # Of points at phase 0 the next digit would decide whether they begin or end a cycle.
    axes = draw(curve, period=2.0, epoch=2458107.571234567 - 1e-7 + middle).axes[0]
    points = np.concatenate([np.asarray(line.lines[0].get_xdata()) for line in axes.containers])
    assert len(points) == shown.sum()
    np.testing.assert_allclose([points.min(), points.max()], [low, high], atol=1e-6)
    np.testing.assert_allclose(axes.get_xlim(), [low - 0.007, high + 0.007], atol=1e-6)
    in_time = np.sort(curve["bjd_tdb"][shown])
    np.testing.assert_allclose(np.diff(np.sort(points)), np.diff(in_time) / 2.0, atol=1e-6)


def test_one_point_is_folded_too() -> None:
    axes = draw(transit().take(np.array([3])), period=2.0).axes[0]
    assert axes.get_xlim() == (0.0, 2.0)


@pytest.mark.parametrize(
    ("name", "magic"), [("a.pdf", b"%PDF"), ("a.SVG", b"<?xml"), ("a.png", b"\x89PNG"), ("a", b"\x89PNG")]
)
def test_a_figure_is_what_its_name_ends_in(tmp_path: Path, name: str, magic: bytes) -> None:
    plot(transit(), tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(magic)


def test_no_curve_is_folded_with_a_period_that_is_none() -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        draw(transit(), period=0.0)


def test_upper_limits_are_carets_in_place_of_magnitudes() -> None:
    curve = transit()
    limits = np.where(np.arange(len(curve)) % 10 == 0, 11.0, np.nan)
    shown = LightCurve(columns={**curve.columns, "upper_limit": limits}, meta=curve.meta)
    axes = _axes(shown)
    (carets,) = (line for line in axes.lines if line.get_label() == "Clear, fainter than")
    assert carets.get_ydata().tolist() == [11.0] * 4
    assert len(_points(axes, "Clear")) == 20 - 4
    assert axes.get_ylabel() == "Magnitude (Vega V)"
