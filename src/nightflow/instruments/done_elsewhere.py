"""What other programs have done to a frame before it came here, as its header tells.

A step that is done is never done twice. Four dialects are known: the cards of IRAF's ``ccdproc`` (a sentence
with a time stamp in ZEROCOR, DARKCOR, FLATCOR and the like), those of LCO's BANZAI (L1STATxx = 1, RLEVEL
above 0), those of Python's ccdproc (a card or a line of HISTORY with the name of the function), and those of
nightflow's own products (`nightflow.instruments.own_product`). MaxIm DL's CALSTAT, which AstroImageJ writes
too, is a quantity of the profile: `nightflow.instruments.detector_facts.steps_done`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from astropy.io import fits

from nightflow.instruments.header_reader import card_value
from nightflow.instruments.own_product import OWN_STEPS, is_own_product
from nightflow.instruments.values import parse_number, parse_text

__all__ = ["DoneElsewhere", "in_order", "steps_in"]

_GAIN = "gain"
_IN_ADU = ("crosstalk", "pedestal", "bias", "linearity", "dark", "flat")
"""Steps whose masters and settings are in ADU: electrons are past them."""

_IRAF = {
    "OVERSCAN": "overscan",
    "TRIM": "trim",
    "ZEROCOR": "bias",
    "DARKCOR": "dark",
    "FLATCOR": "flat",
    "ILLUMCOR": "illumination",
    "FRINGCOR": "fringe",
}
_BANZAI = {
    "L1STATOV": "overscan",
    "L1STATTR": "trim",
    "L1STATBI": "bias",
    "L1STATZM": "bias",
    "L1STATDA": "dark",
    "L1STATFL": "flat",
    "L1STATFR": "fringe",
}
_CCDPROC = {
    "subtract_overscan": "overscan",
    "trim_image": "trim",
    "subtract_bias": "bias",
    "subtract_dark": "dark",
    "flat_correct": "flat",
    "gain_correct": _GAIN,
}
_CCDPROC_SHORT = {
    "SUBOSCAN": "overscan",
    "TRIMIM": "trim",
    "SUBBIAS": "bias",
    "SUBDARK": "dark",
    "GAINCOR": _GAIN,
}
"""Cards that ccdproc writes beside the long ones; its FLATCOR is told from IRAF's by its value."""

_SENTENCE = re.compile(r"\d\d?:\d\d\b|\bis\b|=<", re.IGNORECASE)
"""A time stamp or a verb ("Mar  3 14:53 Zero level correction image is Zero"), or a list of arguments by
ccdproc ("ccd=<CCDData>, flat=<CCDData>"). A number is none: raw headers have a strip's width as OVERSCAN."""

_YES = re.compile(r"t|true|y|yes|done|completed?", re.IGNORECASE)

_FUNCTION = re.compile(rf"\b({'|'.join(_CCDPROC)})\b")
_ELECTRONS = frozenset({"electron", "electrons", "e-", "e", "elec", "electron/pixel", "electron / pix"})


@dataclass(frozen=True, kw_only=True)
class DoneElsewhere:
    """What a header says to be done.

    Attributes
    ----------
    steps : tuple of str
        Rows of `nightflow.detector.chain.STEPS`, in their order.
    gain_applied : bool
        The pixels are electrons.
    trimmed : bool
        Only pixels that see light are left: raw coordinates do not hold.
    saturation_scaled : bool
        The header's saturation level is in electrons, too.
    told_by : str
        Who says so, for people; "" where nothing is done.
    left_out : tuple of str
        Steps that nobody has done and that cannot be done any more.
    """

    steps: tuple[str, ...] = ()
    gain_applied: bool = False
    trimmed: bool = False
    saturation_scaled: bool = False
    told_by: str = ""
    left_out: tuple[str, ...] = ()


def steps_in(header: fits.Header, primary: fits.Header | None = None) -> DoneElsewhere:
    """Return what other programs, or nightflow before, have done to a frame.

    A dark takes the bias with it, whichever of the two is told. Who has cut the overscan off and taken the
    bias out has taken out the overscan's level. Electrons are past every step in ADU: such a step counts as
    done, and as ``left_out`` where no card speaks of it.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Of the HDU. Untrusted.
    primary : astropy.io.fits.Header, optional
        Of the file, looked into for what the HDU's own does not say.
    """
    headers = [header] if primary is None else [header, primary]
    if is_own_product(headers):
        return DoneElsewhere(
            steps=OWN_STEPS,
            gain_applied=_in_electrons(headers, calibrated=True),
            trimmed=True,
            told_by="nightflow (NFCAMERA)",
        )
    told = list(_told(headers))
    done = {step for _, _, step in told}
    if "dark" in done:
        done.add("bias")
    electrons = _GAIN in done or _in_electrons(headers, bool(done)) or _banzai_gain(headers, told)
    trimmed = "trim" in done
    left_out: tuple[str, ...] = ()
    if electrons:
        left_out = tuple(step for step in ("bias", "dark", "flat") if step not in done)
        done.update(_IN_ADU)
    if trimmed:
        done.add("bad_regions")
    if trimmed and "bias" in done:
        done.add("overscan")
    banzai = any(dialect == "BANZAI" for dialect, _, _ in told)
    return DoneElsewhere(
        steps=in_order(done),
        gain_applied=electrons,
        trimmed=trimmed,
        saturation_scaled=electrons and banzai,
        told_by=_words(told, electrons),
        left_out=left_out,
    )


def in_order(steps: Sequence[str] | set[str]) -> tuple[str, ...]:
    """Return steps in the order in which the detector chain does them."""
    return tuple(step for step in OWN_STEPS if step in steps)


Told = tuple[str, str, str]
"""Dialect, keyword, step."""


def _told(headers: Sequence[fits.Header]) -> Iterator[Told]:
    yield from _by_cards(headers, "IRAF", _IRAF, _sentence)
    corrections = {keyword: step for keyword, step in _IRAF.items() if keyword.endswith("COR")}
    yield from _by_cards(headers, "IRAF", corrections, _plain_yes)
    yield from _banzai(headers)
    yield from _by_cards(headers, "ccdproc", _CCDPROC_SHORT, _not_denied)
    yield from _by_cards(
        headers, "ccdproc", {name.upper(): step for name, step in _CCDPROC.items()}, _not_denied
    )
    for header in headers:
        for line in header.get("HISTORY", ()):
            for name in _FUNCTION.findall(str(line)):
                yield "ccdproc", "HISTORY", _CCDPROC[name]


def _by_cards(
    headers: Sequence[fits.Header], dialect: str, cards: Mapping[str, str], done: Callable[[object], bool]
) -> Iterator[Told]:
    for keyword, step in cards.items():
        if any(keyword in header and done(card_value(header, keyword)) for header in headers):
            yield dialect, keyword, step


def _banzai(headers: Sequence[fits.Header]) -> Iterator[Told]:
    """Yield the steps whose status is 1 (0: not done, -1: not to be done); all without any status."""
    told = list(_by_cards(headers, "BANZAI", _BANZAI, lambda value: parse_number(value) == 1))
    silent = not any(keyword in header for keyword in _BANZAI for header in headers)
    levels = [parse_number(card_value(header, "RLEVEL")) for header in headers]
    if silent and any(level is not None and level > 0 for level in levels):
        told = [("BANZAI", "RLEVEL", step) for step in dict.fromkeys(_BANZAI.values()) if step != "fringe"]
    yield from told


def _banzai_gain(headers: Sequence[fits.Header], told: Sequence[Told]) -> bool:
    """Return whether BANZAI has applied the gain: it then writes GAIN = 1, and scales SATURATE along."""
    if not any(dialect == "BANZAI" for dialect, _, _ in told):
        return False
    return any(parse_number(card_value(header, "GAIN")) == 1 for header in headers)


def _in_electrons(headers: Sequence[fits.Header], calibrated: bool) -> bool:
    """Return whether BUNIT says electrons, and may: a camera's integers are counts, whatever it says."""
    unit = next((parse_text(card_value(one, "BUNIT")) for one in headers if "BUNIT" in one), "")
    bits = parse_number(card_value(headers[0], "BITPIX"))
    return unit.lower() in _ELECTRONS and (calibrated or (bits is not None and bits < 0))


def _sentence(value: object) -> bool:
    return isinstance(value, str) and _SENTENCE.search(value) is not None


def _plain_yes(value: object) -> bool:
    return value is True or (isinstance(value, str) and _YES.fullmatch(value.strip()) is not None)


def _not_denied(value: object) -> bool:
    return value is not False and parse_text(value).lower() not in ("f", "false", "no", "none", "0")


def _words(told: Sequence[Told], electrons: bool) -> str:
    """Return who says so, such as "IRAF (ZEROCOR, FLATCOR)"."""
    by: dict[str, list[str]] = {}
    for dialect, keyword, _ in told:
        if keyword not in by.setdefault(dialect, []):
            by[dialect].append(keyword)
    words = [f"{dialect} ({', '.join(keywords)})" for dialect, keywords in by.items()]
    if electrons and not words:
        words = ["BUNIT = electron"]
    return " and ".join(words)
