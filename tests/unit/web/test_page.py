from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightflow.store.models import Target
from nightflow.web.content import Dashboard, FrameLine
from nightflow.web.page import CONTENT_SECURITY_POLICY, render, render_message

ELEMENTS = {
    "html", "head", "meta", "title", "link", "body", "h1", "h2", "ul", "li", "b", "p", "div", "figure", "img",
    "figcaption", "table", "thead", "tbody", "tr", "th", "td", "span", "footer",
}  # fmt: skip
ATTRIBUTES = {
    "lang", "charset", "name", "content", "http-equiv", "rel", "href", "class", "src", "alt", "loading",
    "colspan",
}  # fmt: skip


class Reader(HTMLParser):
    """Collects elements, attributes and text, as a browser would see them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def line(**changes: Any) -> FrameLine:
    values: dict[str, Any] = {
        "exposure_id": 3, "frame_id": 7, "file": "a.fits", "state": "done", "reason": "",
        "values": {"object": "M 67", "filter": "V", "fwhm_px": 3.14159, "zp": 22.123, "n_sources": 12},
    }  # fmt: skip
    return FrameLine(**(values | changes))


def dashboard(
    *frames: FrameLine, targets: tuple[Target, ...] = (), error: str = "", is_watched: bool = True
) -> Dashboard:
    return Dashboard(
        states={"done": 14, "failed": 1},
        queue=2,
        is_watched=is_watched,
        last_error=error,
        frames=frames,
        targets=targets,
    )


def test_a_watcher_that_is_not_running_is_told_at_the_top() -> None:
    told = "The watcher is not running"
    assert told not in Reader(render(dashboard(line()), "now")).text
    text = Reader(render(dashboard(line(), is_watched=False), "now")).text
    assert text.index(told) < text.index("queue")


def test_a_reason_has_a_row_of_its_own() -> None:
    page = render(dashboard(line(reason="no bias"), line(file="b.fits")), "now")
    assert page.count("<tr>") == 1 + 2 + 1
    columns = page.count("<th>")
    assert f'<tr><td class="reason" colspan="{columns}">no bias</td></tr>' in page


def test_states_queue_measures_and_pictures_are_on_it() -> None:
    page = Reader(render(dashboard(line(), error="b.fits: failed: a bug"), "now"))
    for text in (
        "14",
        "done",
        "queue",
        "a.fits",
        "M 67",
        "3.14",
        "22.123",
        "Last trouble: b.fits: failed: a bug",
    ):
        assert text in page.text
    assert ("src", "/thumbnail/7.png") in page.attributes
    assert ("http-equiv", "refresh") in page.attributes


def test_a_file_without_a_frame_has_no_picture() -> None:
    page = Reader(render(dashboard(line(frame_id=None, values={}), line(values={"kind": "bias"})), "now"))
    assert "img" not in page.elements


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</td></tr></table><h1>owned</h1>",
    "&lt;script&gt;",
    "\x00\x1b[31m\u202e",
]


def everywhere(text: str) -> str:
    """Return a page with the text wherever text of others may stand."""
    frame = line(file=text, state=text, reason=text, values={"object": text, "filter": text, "kind": text})
    target = Target(id=5, name=text, ra=1.0, dec=2.0, type=text, notes=text)
    return render(dashboard(frame, targets=(target,), error=text), text)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_text(text: str) -> None:
    page = everywhere(text)
    reader = Reader(page)
    assert set(reader.elements) <= ELEMENTS
    assert {name for name, _ in reader.attributes} <= ATTRIBUTES
    assert "<script" not in page
    assert Reader(everywhere("plain")).elements == reader.elements


@given(st.text(min_size=1, max_size=80))
def test_any_text_leaves_the_page_as_it_is(text: str) -> None:
    reader = Reader(everywhere(text))
    assert reader.elements == Reader(everywhere("plain")).elements
    assert {name for name, _ in reader.attributes} <= ATTRIBUTES


def test_a_long_text_is_cut() -> None:
    assert len(render(dashboard(line(reason="x" * 100_000)), "now")) < 20_000


def test_a_moving_target_has_no_curve() -> None:
    moving = Target(id=5, name="Ceres", ephemeris=[[60000.0, 1.0, 2.0], [60001.0, 1.0, 2.0]])
    page = Reader(render(dashboard(targets=(moving,)), "now"))
    assert "Ceres" in page.text
    assert "img" not in page.elements


def test_trouble_is_a_page_too() -> None:
    assert "&lt;b&gt; is locked" in render_message("<b> is locked")


def test_the_policy_lets_nothing_run() -> None:
    assert "default-src 'none'" in CONTENT_SECURITY_POLICY
    assert "script" not in CONTENT_SECURITY_POLICY
    assert "unsafe" not in CONTENT_SECURITY_POLICY
