"""The camera profiles that are known, and which of them wrote a header."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from astropy.io import fits
from pydantic import ValidationError

from nightflow.config import describe_validation
from nightflow.errors import ConfigurationError, FrameHeld
from nightflow.instruments.bad_regions import read_bad_pixel_file
from nightflow.instruments.header_reader import HeaderReader, card_value, matches, quoted
from nightflow.instruments.own_product import camera_of
from nightflow.instruments.profile import CameraProfile

__all__ = ["load_profiles", "recognise"]

NOT_INHERITED = frozenset({"name", "description", "extends", "recognise", "needs"})
LONGEST_MESSAGE = 1500

_Source = tuple[str, dict[str, Any]]
"""Where a profile stands, and its TOML."""


def load_profiles(user_folder: Path | None = None) -> list[CameraProfile]:
    """Read the camera profiles.

    Parameters
    ----------
    user_folder : Path, optional
        Profiles of one's own, ``*.toml``. One with the name of a profile that comes with nightflow replaces
        it. A folder that does not exist holds none.

    Returns
    -------
    list of CameraProfile
        One's own first, each group ordered by name.

    Raises
    ------
    ConfigurationError
        A file is no TOML, or holds a key or value that it may not; the message names file, key and mend.
    """
    own = _read_folder(user_folder) if user_folder is not None and user_folder.is_dir() else {}
    sources = {**own, **{name: source for name, source in _builtin().items() if name not in own}}
    return [_build(name, sources) for name in sources]


def recognise(headers: Sequence[fits.Header], profiles: Iterable[CameraProfile]) -> CameraProfile:
    """Return the profile of the camera that wrote these headers.

    A product of nightflow names its camera. Else the profile that is recognised by the most keywords wins;
    among equals, the first. Profiles without keywords to be recognised by come last: they take every file
    whose headers give the quantities that they need.

    Parameters
    ----------
    headers : sequence of astropy.io.fits.Header
        Of all HDUs, the primary first. A keyword may stand in any of them.
    profiles : iterable of CameraProfile
        As `load_profiles` gives them.

    Raises
    ------
    FrameHeld
        No profile fits; the message names the keywords that were looked for and what they hold.
    """
    candidates = list(profiles)
    own = [profile for profile in candidates if profile.name == camera_of(headers)]
    if own:
        return own[0]
    special = [profile for profile in candidates if profile.recognise and _recognises(profile, headers)]
    if special:
        return max(special, key=lambda profile: len(profile.recognise))
    for profile in candidates:
        if not profile.recognise and not _lacking(profile, headers):
            return profile
    raise FrameHeld(_nothing_fits(candidates, headers))


def _recognises(profile: CameraProfile, headers: Sequence[fits.Header]) -> bool:
    known = all(
        any(matches(expression, card_value(header, keyword)) for header in headers)
        for keyword, expression in profile.recognise.items()
    )
    return known and not _lacking(profile, headers)


def _lacking(profile: CameraProfile, headers: Sequence[fits.Header]) -> list[str]:
    """Return the needed quantities that no header gives, each with the keywords that were looked for."""
    readers = [HeaderReader(header, profile) for header in headers]
    return [
        f"{quantity} ({readers[0].looked_for(quantity)})"
        for quantity in profile.needs
        if not any(reader.text(quantity) for reader in readers)
    ]


def _nothing_fits(profiles: Sequence[CameraProfile], headers: Sequence[fits.Header]) -> str:
    keywords = dict.fromkeys(keyword for profile in profiles for keyword in profile.recognise)
    held = [(keyword, _first(headers, keyword)) for keyword in keywords]
    present = [f"{keyword} = {quoted(value)}" for keyword, value in held if value is not None]
    absent = [keyword for keyword, value in held if value is None]
    parts = ["no camera profile fits"]
    parts += [f"it holds {', '.join(present)}"] if present else []
    parts += [f"absent are {', '.join(absent)}"] if absent else []
    parts += [
        f"camera {profile.name} misses {'; '.join(_lacking(profile, headers))}"
        for profile in profiles
        if not profile.recognise
    ]
    message = "; ".join(parts)
    message = message if len(message) <= LONGEST_MESSAGE else message[:LONGEST_MESSAGE] + "..."
    return f"{message}; write a profile for this camera into the cameras folder"


def _first(headers: Sequence[fits.Header], keyword: str) -> object:
    values = (card_value(header, keyword) for header in headers)
    return next((value for value in values if value is not None), None)


def _builtin() -> dict[str, _Source]:
    folder = resources.files("nightflow.instruments") / "profiles"
    files = sorted(
        (entry for entry in folder.iterdir() if entry.name.endswith(".toml")), key=lambda e: e.name
    )
    texts = ((f"profiles/{entry.name}", entry.read_text("utf-8")) for entry in files)
    return _by_name(texts, folder)


def _read_folder(folder: Path) -> dict[str, _Source]:
    try:
        texts = [(str(file), file.read_text("utf-8")) for file in sorted(folder.glob("*.toml"))]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{folder}: a camera profile cannot be read: {error}") from error
    return _by_name(texts, folder)


def _by_name(texts: Iterable[tuple[str, str]], folder: Traversable) -> dict[str, _Source]:
    sources: dict[str, _Source] = {}
    for origin, text in texts:
        try:
            content = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError(f"{origin}: not valid TOML: {error}") from error
        name = str(content.get("name", ""))
        if name in sources:
            raise ConfigurationError(
                f"{origin}: name = {name!r} is also that of {sources[name][0]}; rename one"
            )
        sources[name] = origin, _with_bad_pixels(content, folder)
    return sources


def _with_bad_pixels(content: dict[str, Any], folder: Traversable) -> dict[str, Any]:
    """Return ``content`` with the regions of its bad pixel file behind those that it lists.

    What the file holds is part of the profile from here on: another file makes other masters.
    """
    detector = content.get("detector")
    if not isinstance(detector, dict) or not isinstance(detector.get("bad_pixel_file"), str):
        return content
    listed = detector.get("bad_pixel_regions", [])
    if not detector["bad_pixel_file"] or not isinstance(listed, list):
        return content
    regions = read_bad_pixel_file(folder.joinpath(detector["bad_pixel_file"]))
    return {**content, "detector": {**detector, "bad_pixel_regions": [*listed, *regions]}}


def _build(name: str, sources: Mapping[str, _Source]) -> CameraProfile:
    origin, content = sources[name]
    try:
        profile = CameraProfile(**_inherited(content, sources, origin, ()))
    except ValidationError as error:
        raise ConfigurationError(f"{origin}: {describe_validation(error, CameraProfile)}") from error
    if not profile.recognise and not profile.needs:
        raise ConfigurationError(f"{origin}: neither recognise nor needs is given: it would take every file")
    return profile


def _inherited(
    content: dict[str, Any], sources: Mapping[str, _Source], origin: str, children: tuple[str, ...]
) -> dict[str, Any]:
    """Return ``content`` laid over the profile that it extends, and that over its own."""
    parent = content.get("extends")
    if not parent:
        return content
    if parent in children or parent not in sources:
        fault = "extends itself: give it a name of its own" if parent in children else "is no profile"
        known = ", ".join(name for name in sources if name not in children)
        raise ConfigurationError(f"{origin}: extends = {parent!r}: {fault}; known: {known}")
    parent_origin, parent_content = sources[parent]
    base = _inherited(parent_content, sources, parent_origin, (*children, parent))
    return _merged({key: value for key, value in base.items() if key not in NOT_INHERITED}, content)


def _merged(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        # A keyword's rule is replaced as a whole: half of one rule and half of another mean nothing.
        if isinstance(value, dict) and isinstance(below, dict) and not {"keys", "value"} & value.keys():
            merged[key] = _merged(below, value)
        else:
            merged[key] = value
    return merged
