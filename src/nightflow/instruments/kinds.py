"""What a frame was taken for, by the rules of its profile."""

from __future__ import annotations

from nightflow.instruments.header import FrameKind
from nightflow.instruments.header_reader import HeaderReader, matches
from nightflow.instruments.profile import CameraProfile

__all__ = ["frame_kind"]

_ORDER = (FrameKind.BIAS, FrameKind.DARK, FrameKind.FLAT, FrameKind.LIGHT)


def frame_kind(reader: HeaderReader, profile: CameraProfile, exptime: float | None) -> FrameKind:
    """Return the first kind, in the order bias, dark, flat, light, one of whose rules matches.

    In a rule a key in small letters is one of our quantities (``exptime`` is compared as "0" or "2.5"), one
    in capitals a keyword of the header. All of a rule's keys must match; ``{}`` matches every frame.

    Returns
    -------
    FrameKind
        UNKNOWN where no rule matches.
    """
    rules = {FrameKind(name): rules for name, rules in profile.kinds.items()}
    for kind in _ORDER:
        for rule in rules.get(kind, []):
            if all(matches(expression, _value(reader, key, exptime)) for key, expression in rule.items()):
                return kind
    return FrameKind.UNKNOWN


def _value(reader: HeaderReader, key: str, exptime: float | None) -> object:
    if key == "exptime":
        return None if exptime is None else f"{exptime:g}"
    if key == key.upper():
        return reader.card(key)
    return reader.text(key) or None
