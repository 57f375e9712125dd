"""The page as HTML: every text is escaped, nothing on it runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from nightflow.store.models import Target
from nightflow.web.content import Dashboard, FrameLine

__all__ = ["CONTENT_SECURITY_POLICY", "REFRESH_SECONDS", "STYLE", "render", "render_message"]

REFRESH_SECONDS = 15

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; img-src 'self'; style-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""No script, no frame, nothing from elsewhere: an escaped text that were not would still do nothing."""

STYLE = """\
:root { color-scheme: light dark; --line: #8884; --soft: #8882; }
body { font: 14px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 90rem; padding: 1rem 1.5rem; }
h1 { font-size: 1.3rem; margin: 0 0 .8rem; }
h2 { font-size: 1.05rem; margin: 1.6rem 0 .6rem; }
.tiles { display: flex; flex-wrap: wrap; gap: .6rem; list-style: none; margin: 0; padding: 0; }
.tiles li { border: 1px solid var(--line); border-radius: .5rem; min-width: 5.5rem; padding: .4rem .8rem; }
.tiles b { display: block; font-size: 1.4rem; font-variant-numeric: tabular-nums; }
.error { border-left: .3rem solid #d55e00; margin: 1rem 0; overflow-wrap: anywhere; padding: .2rem .8rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .5rem; text-align: left; vertical-align: top; }
th { font-weight: 600; white-space: nowrap; }
td.number { font-variant-numeric: tabular-nums; text-align: right; white-space: nowrap; }
tr:has(+ tr td.reason) td { border-bottom: 0; }
td.reason { color: GrayText; overflow-wrap: anywhere; padding-top: 0; }
td img { background: var(--soft); display: block; height: 72px; width: auto; }
.state { border-radius: 1rem; padding: .1rem .6rem; white-space: nowrap; }
.done { background: #009e7333; } .failed { background: #d55e0055; } .rejected { background: #e69f0044; }
.held { background: #56b4e944; } .received, .reducing, .duplicate { background: var(--soft); }
.targets { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(26rem, 1fr)); }
figure { border: 1px solid var(--line); border-radius: .5rem; margin: 0; padding: .6rem; }
figure img { background: #fff; height: auto; width: 100%; }
figcaption { overflow-wrap: anywhere; }
footer { color: GrayText; margin-top: 2rem; }
"""

_COLUMNS = (
    ("received", "received", ""), ("kind", "kind", ""), ("object", "object", ""), ("filter", "filter", ""),
    ("exptime", "s", "g"), ("airmass", "airmass", ".2f"), ("fwhm_px", "FWHM px", ".2f"),
    ("ellipticity", "ell.", ".2f"), ("sky", "sky e-", ".0f"), ("n_sources", "sources", "d"),
    ("wcs_quality", "WCS", ""), ("zp", "zero point", ".3f"), ("depth_5sigma", "5σ depth", ".2f"),
    ("seconds", "took s", ".1f"),
)  # fmt: skip
_LONGEST = 240
_NOT_WATCHED = "The watcher is not running: what lands is not reduced. Start <code>nightflow watch</code>."


def render(content: Dashboard, now: str) -> str:
    """Return the page.

    Parameters
    ----------
    content : Dashboard
    now : str
        Time of day, for the reader to see that the page is alive.
    """
    body = "".join(
        [
            "<h1>nightflow</h1>",
            "" if content.is_watched else f'<p class="error">{_NOT_WATCHED}</p>',
            _tiles(content),
            f'<p class="error">Last trouble: {_text(content.last_error)}</p>' if content.last_error else "",
            "<h2>Targets</h2>" + _targets(content.targets) if content.targets else "",
            "<h2>Last frames</h2>" + _frames(content.frames),
            f"<footer>{escape(now)} · again every {REFRESH_SECONDS} s</footer>",
        ]
    )
    return _document(body, refresh=True)


def render_message(message: str) -> str:
    """Return a page that says one thing, such as that the store is away."""
    return _document(f'<h1>nightflow</h1><p class="error">{_text(message)}</p>', refresh=True)


def _document(body: str, *, refresh: bool) -> str:
    again = f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}">' if refresh else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">{again}'
        '<title>nightflow</title><link rel="stylesheet" href="/style.css"></head>'
        f"<body>{body}</body></html>\n"
    )


def _tiles(content: Dashboard) -> str:
    shown = {"queue": content.queue, **content.states}
    items = (f"<li><b>{number}</b>{escape(name)}</li>" for name, number in shown.items())
    return f'<ul class="tiles">{"".join(items)}</ul>'


def _frames(frames: Sequence[FrameLine]) -> str:
    if not frames:
        return "<p>None yet.</p>"
    head = "".join(f"<th>{escape(title)}</th>" for title in ("", "file", "state", *_titles()))
    rows = "".join(map(_frame, frames))
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _frame(line: FrameLine) -> str:
    picture = ""
    if line.frame_id is not None and "fwhm_px" in line.values:
        picture = f'<img src="/thumbnail/{line.frame_id:d}.png" alt="" loading="lazy">'
    cells = [
        f"<td>{picture}</td>",
        f"<td>{_text(line.file)}</td>",
        f'<td><span class="state {_class(line.state)}">{_text(line.state)}</span></td>',
        *_values(line.values),
    ]
    return f"<tr>{''.join(cells)}</tr>{_reason(line.reason, len(cells))}"


def _reason(reason: str, width: int) -> str:
    """Return a row of its own: in a column beside all the others there is room for a word a line."""
    return f'<tr><td class="reason" colspan="{width:d}">{_text(reason)}</td></tr>' if reason else ""


def _values(values: dict[str, Any]) -> Iterable[str]:
    for name, _, style in _COLUMNS:
        value = values.get(name)
        text = "" if value is None else _text(format(value, style) if style else str(value))
        yield f'<td class="number">{text}</td>' if style else f"<td>{text}</td>"


def _titles() -> list[str]:
    return [title for _, title, _ in _COLUMNS]


def _targets(targets: Sequence[Target]) -> str:
    return f'<div class="targets">{"".join(map(_target, targets))}</div>'


def _target(target: Target) -> str:
    if target.ephemeris is not None:
        where, picture = "moving", "<p>No light curve of one place.</p>"
    else:
        where = f"{target.ra:.4f} {target.dec:+.4f}"
        picture = f'<img src="/target/{target.id or 0:d}.png" alt="light curve" loading="lazy">'
    notes = " · ".join(part for part in (target.type, where, target.notes) if part)
    return f"<figure>{picture}<figcaption><b>{_text(target.name)}</b> {_text(notes)}</figcaption></figure>"


def _text(text: str) -> str:
    shown = text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
    return escape("".join(character if character.isprintable() else " " for character in shown))


def _class(state: str) -> str:
    """Return a class name for a state; only letters, for it stands in an attribute."""
    return "".join(character for character in state if character.isalpha())
