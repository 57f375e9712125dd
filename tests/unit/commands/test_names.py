"""Names of targets and objects are anybody's text: bounded, and shown as text wherever they are shown."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.console import Console

from nightflow.commands import common
from nightflow.commands.curves import _stem
from nightflow.instruments.header_reader import HeaderReader
from nightflow.products.lightcurve_plot import draw
from nightflow.store.database import Database
from nightflow.store.models import Target
from nightflow.store.targets import MAXIMUM_NAME, add_target, find_target, list_targets, remove_targets
from nightflow.web.page import _target
from tests.unit.commands.conftest import Observatory
from tests.unit.instruments.profiles import profile
from tests.unit.products.light_curves import transit

NASTY = st.text(min_size=1).filter(str.strip) | st.sampled_from(
    [
        "x" * 3000,
        "two\nlines\r\n",
        "nul\x00",
        "\x1b[31mred\x1b[0m \x07",
        "[bold]not[/bold] [/red] [link=file:///etc/passwd]x[/link]",
        "<script>alert(1)</script>&amp;\"'",
        "$\\frac{1}{0$ _^{}",
        "../../etc/passwd",
        "C:\\NUL",
        "\u202egnp.exe",
        "\udcff",
        "星" * 300,
        "=cmd|' /C calc'!A0",
    ]
)


@settings(max_examples=40)
@given(name=NASTY)
def test_a_terminal_shows_a_name_in_one_line_and_obeys_none_of_it(name: str) -> None:
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        console = Console(file=out, highlight=False, force_terminal=True, width=200)
        patch.setattr(common, "console", console)
        patch.setattr(common, "_errors", console)
        common.say(name)
        common.note(name)
    said, noted, rest = out.getvalue().split("\n")
    assert said == noted == common.printable(name)
    assert rest == ""
    assert said.isprintable()


class _Text(HTMLParser):
    """What a page holds: tags, and the text between them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@settings(max_examples=40)
@given(name=NASTY)
def test_the_page_shows_a_name_and_has_no_tag_of_it(name: str) -> None:
    parser = _Text()
    html = _target(Target(id=1, name=name, ra=1.0, dec=2.0))
    parser.feed(html)
    assert parser.tags == ["figure", "img", "figcaption", "b"]
    expected = "".join(one if one.isprintable() else " " for one in name)
    assert parser.text.startswith(expected[:240])
    assert len(parser.text) < 300


@settings(max_examples=4)
@given(name=NASTY)
@example(name="$\\frac{1}{0$ _^{}")
@example(name="\u661f\u5ea7")
def test_a_plot_shows_a_name_and_no_formula(name: str) -> None:
    figure = draw(transit(), title=name)
    # Warnings are errors here: a sign that the font does not have would make one.
    figure.savefig(io.BytesIO(), format="png", dpi=20)
    (axes,) = figure.axes
    assert len(axes.get_title()) <= 80
    assert axes.get_title().isprintable()


@settings(max_examples=100)
@given(name=NASTY, other=NASTY)
def test_file_names_are_plain_short_and_of_one_name_only(name: str, other: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_+-][A-Za-z0-9._+-]{0,79}", _stem(name))
    if name != other:
        assert _stem(name).lower() != _stem(other).lower()


def test_a_target_of_any_name_is_bounded_found_and_removed() -> None:
    @settings(max_examples=20)
    @given(name=NASTY)
    @example(name="x" * 3000)
    def try_one(name: str) -> None:
        target = add_target(database, name, 1.0, 2.0)
        assert len(target.name) <= MAXIMUM_NAME
        found = find_target(database, name)
        assert found is not None
        assert found.name == target.name
        assert remove_targets(database, [name]) == ([target.name], [])
        assert list_targets(database) == []

    with Database("sqlite://") as database:
        database.upgrade()
        try_one()


def test_what_is_cut_off_a_name_is_said(empty: Observatory, tmp_path: Path) -> None:
    added = empty("targets", "add", "x" * 3000, "--ra", "1", "--dec", "2")
    assert "has 3000 characters: the first 256 are kept" in added.stderr.replace("\n", " ")
    assert added.stdout.count("x") == 256
    file = tmp_path / "list.csv"
    file.write_text(f"name,ra,dec\n{'y' * 300},1,2\nshort,1,2\n")
    assert empty("targets", "import", str(file)).stderr.count("characters") == 1
    assert empty("targets", "add", "z" * 256, "--ra", "1", "--dec", "2").stderr == ""


@settings(max_examples=40)
@given(name=NASTY)
def test_an_object_of_any_length_is_one_short_line_and_a_cut_is_warned_of(name: str) -> None:
    reader = HeaderReader(fits.Header(), profile(keywords={"object": "OBJECT"}))
    reader.card = lambda keyword: name  # type: ignore[method-assign]  # FITS itself allows less
    found = reader.text("object")
    assert len(found) <= 256
    assert found.isprintable()
    warned = [one for one in reader.warnings if "cut to the first 256" in one]
    assert bool(warned) == (len(" ".join(name.split())) > 256)
    assert all(len(one) < 200 and one.isprintable() for one in warned)


def test_a_long_object_of_a_file_is_cut_aloud() -> None:
    header = fits.Header()
    header["OBJECT"] = "M 67 " * 600
    reader = HeaderReader(header, profile(keywords={"object": "OBJECT"}))
    assert reader.text("object") == ("M 67 " * 600)[:256].strip()
    assert len(reader.warnings) == 1
    assert np.all([len(reader.warnings[0]) < 200])
