"""Read a raw header through a camera profile's keyword map.

`HeaderReader` answers one question: what does this header say of this quantity, by the profile's rules?
What it discards or guesses on the way it writes down in ``warnings``.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from astropy.io import fits
from astropy.io.fits.verify import VerifyError
from astropy.utils.exceptions import AstropyWarning

from nightflow.instruments.profile import CameraProfile, KeywordRule
from nightflow.instruments.values import MAXIMUM_TEXT, is_cut, parse_number, parse_text

__all__ = ["Found", "HeaderReader", "card_value", "matches", "quoted"]

QUOTED_LENGTH = 40

T = TypeVar("T")


def card_value(header: fits.Header, keyword: str) -> object:
    """Return a card's value, None where there is no such card.

    A value that FITS does not allow (a time without quotes) is returned as the text in front of the comment.
    """
    if keyword not in header:
        return None
    try:
        return header[keyword]
    except VerifyError:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            mended = fits.Header([header.cards[keyword]]).cards[0]
            mended.verify("silentfix+ignore")
            return mended.value


def quoted(value: object) -> str:
    """Return a header's value for a message: one line, printable, short, in quotes."""
    text = parse_text(value)
    return repr(text if len(text) <= QUOTED_LENGTH else text[:QUOTED_LENGTH] + "...")


def matches(expression: str, value: object) -> bool:
    """Return whether the expression occurs in the value's text, whatever the case; never if absent."""
    return value is not None and _compiled(expression).search(parse_text(value)) is not None


@lru_cache(maxsize=1024)
def _compiled(expression: str) -> re.Pattern[str]:
    return re.compile(expression, re.IGNORECASE)


@dataclass(frozen=True)
class Found:
    """A value with its origin.

    Attributes
    ----------
    value : object
        As in the header or in the profile.
    keyword : str
        Where it stands; "" where the profile itself says it.
    rule : KeywordRule
        The rule that found it.
    """

    value: object
    keyword: str
    rule: KeywordRule

    @property
    def origin(self) -> str:
        """Keyword and value for a message."""
        return f"{self.keyword or 'profile'} = {quoted(self.value)}"


class HeaderReader:
    """One HDU's header, and the primary header behind it, seen through a profile.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Of the HDU.
    profile : CameraProfile
        Its keyword map is used.
    primary : astropy.io.fits.Header, optional
        Looked into for what the HDU's own header does not say.

    Attributes
    ----------
    warnings : list of str
        Each guess and each discarded value, in the order in which they came up.
    """

    def __init__(
        self, header: fits.Header, profile: CameraProfile, primary: fits.Header | None = None
    ) -> None:
        self._headers = [header] if primary is None else [header, primary]
        self._keywords: Mapping[str, KeywordRule] = profile.keywords
        self.warnings: list[str] = []

    def card(self, keyword: str) -> object:
        """Return a keyword's value; None where it is absent from both headers or blank."""
        for header in self._headers:
            value = card_value(header, keyword)
            if parse_text(value):
                return value
        return None

    def candidates(self, quantity: str) -> Iterator[Found]:
        """Yield what the profile's rules find, best first."""
        rule = self._keywords.get(quantity)
        while rule is not None:
            if all(matches(expression, self.card(key)) for key, expression in rule.when.items()):
                yield from self._by_rule(rule)
            rule = rule.fallback

    def find(self, quantity: str, parse: Callable[[Found], T | None]) -> T | None:
        """Return the first value of ``quantity`` that ``parse`` can read; discard others with a warning."""
        for found in self.candidates(quantity):
            value = parse(found)
            if value is not None:
                self._note_guess(found)
                return value
            self.warnings.append(f"{quantity}: {found.origin} discarded: cannot be read")
        return None

    def number(
        self,
        quantity: str,
        parse: Callable[[Found], float | None] = lambda found: parse_number(found.value),
        *,
        within: tuple[float, float] = (-math.inf, math.inf),
    ) -> float | None:
        """Return ``quantity`` as a number inside ``within``, or inside the rule's own range where it has one.

        What cannot be read or lies outside is discarded with a warning, and the next keyword is tried.
        """
        for found in self.candidates(quantity):
            number = parse(found)
            low, high = within if found.rule.range is None else found.rule.range
            if number is not None and low <= number <= high:
                self._note_guess(found)
                return number
            fault = "not a number that can be read" if number is None else f"outside {low:g} to {high:g}"
            self.warnings.append(f"{quantity}: {found.origin} discarded: {fault}")
        return None

    def text(self, quantity: str) -> str:
        """Return ``quantity`` as text, "" where the header says nothing; what is too long is cut, aloud."""
        found = next(self.candidates(quantity), None)
        if found is None:
            return ""
        self._note_guess(found)
        if is_cut(found.value):
            length = len(str(found.value))
            self.warnings.append(
                f"{quantity}: {found.origin} has {length} characters: cut to the first {MAXIMUM_TEXT}"
            )
        return parse_text(found.value)

    def looked_for(self, quantity: str) -> str:
        """Return the keywords that the profile gives for ``quantity`` and what each holds."""
        rule, keys = self._keywords.get(quantity), list[str]()
        while rule is not None:
            keys += [key for key in rule.keys if key not in keys]
            rule = rule.fallback
        if not keys:
            return "the profile maps no keyword to it"
        held = ((key, self.card(key)) for key in keys)
        return ", ".join(
            f"{key} {'is absent' if value is None else '= ' + quoted(value)}" for key, value in held
        )

    def _by_rule(self, rule: KeywordRule) -> Iterator[Found]:
        if not rule.fixed:
            for key in rule.keys:
                value = self.card(key)
                if value is not None:
                    yield Found(value, key, rule)
        if rule.value is not None:
            yield Found(rule.value, "", rule)

    def _note_guess(self, found: Found) -> None:
        if found.rule.guess:
            self.warnings.append(f"{found.origin}: {found.rule.guess}")
