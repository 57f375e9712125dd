"""A frame at a glance."""

from __future__ import annotations

import base64
import html
import io
import re
import string
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from PIL import Image

from nightflow.service.frame_card import PICTURE_PIXELS, card_key, card_title, frame_card, picture_uri, plain

SUMMARY = {
    "path": "/incoming/d1047.fits",
    "object": "PG1323-086",
    "filter": "V",
    "state": "done",
    "reason": "",
    "fwhm_px": 3.14159,
    "zp": 22.8234,
    "n_sources": 127,
    "airmass": None,
    "wcs_quality": "provisional",
}


def test_title_and_key() -> None:
    assert card_title(SUMMARY) == "d1047.fits PG1323-086 V"
    assert card_title({"path": "/a/b.fits", "object": "", "filter": None}) == "b.fits"
    assert re.fullmatch("[a-z0-9-]+", card_key(12))


def test_measures_have_units_and_what_is_unknown_is_left_out() -> None:
    card = frame_card(SUMMARY)
    assert "| FWHM | 3.14 px |" in card
    assert "| Zero point | 22.823 mag |" in card
    assert "| Sources | 127 |" in card
    assert "| WCS | provisional |" in card
    assert "Airmass" not in card
    assert "nan" not in card


def rendered(text: str) -> str:
    """Return what a Markdown parser that is not ours makes of it, as HTML."""
    return MarkdownIt("commonmark").enable("table").render(text)


def test_a_held_frame_says_why() -> None:
    card = frame_card({"path": "a.fits", "state": "held", "reason": "no flat for filter V; nearest: R"})
    assert "<strong>held</strong>: no flat for filter V; nearest: R" in rendered(card)
    assert "&#" not in card, "Prefect's pages show character references as they are written"


@pytest.mark.parametrize(
    "text",
    [
        "<img src=x onerror=alert(1)>",
        "[x](javascript:alert(1))",
        "www.example.com",
        "| a | b |",
        "`code`",
        "# title",
        "a\nb\x00",
        "a\\",
    ],
)
def test_headers_are_text_whatever_stands_in_them(text: str) -> None:
    card = frame_card({"path": "a.fits", "object": text, "state": "done", "wcs_quality": text})
    line = "".join(char if char.isprintable() else " " for char in text)
    shown = html.escape(line, quote=False).replace('"', "&quot;")
    assert f"<h1>a.fits {shown.strip()}</h1>" in rendered(card)
    assert f"<td>{shown.strip()}</td>" in rendered(card)


@given(st.text())
def test_plain_is_one_line_in_which_all_punctuation_is_escaped(text: str) -> None:
    escaped = plain(text)
    assert escaped.splitlines() in ([], [escaped])
    assert not set(re.sub(r"\\[!-/:-@\[-`{-~]", "", escaped)) & set(string.punctuation)


@given(st.text(st.characters(categories=("L", "N", "P", "S", "Zs"))))
def test_nothing_printable_is_lost(text: str) -> None:
    printable = "".join(char if char.isprintable() else " " for char in text)
    assert re.sub(r"\\(.)", r"\1", plain(text)) == printable


def test_the_picture_is_small_and_a_picture(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    path = tmp_path / "thumb.png"
    Image.fromarray(rng.integers(0, 255, (900, 1200), dtype=np.uint8)).save(path)
    uri = picture_uri(path)
    assert uri.startswith("data:image/jpeg;base64,")
    content = base64.b64decode(uri.partition(",")[2])
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.size == (PICTURE_PIXELS, PICTURE_PIXELS * 3 // 4)
    assert len(content) < 150_000, "pure noise is the worst case"
    assert f"![the frame]({uri})" in frame_card(SUMMARY, path)


def test_an_absent_picture_is_left_out(tmp_path: Path) -> None:
    assert "![" not in frame_card(SUMMARY, tmp_path / "gone.png")
