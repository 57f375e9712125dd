"""Python and the packages that nightflow declares."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from importlib import metadata

from packaging.requirements import Requirement

from nightflow.doctor.finding import Finding, fault, fine, warning

__all__ = ["check_packages"]

_DISTRIBUTION = "nightflow"
_MEND = "run `make setup`, or pip install -r requirements.lock"
_OLDEST = (3, 11)


def check_packages(requirements: Iterable[str] | None = None) -> Iterator[Finding]:
    """Compare what is installed with what is declared.

    Parameters
    ----------
    requirements : iterable of str, optional
        Such as "astropy>=7.1"; else those of the installed nightflow, extras left out.
    """
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < _OLDEST:
        yield fault(
            "python", f"{version}; 3.11 or newer is needed", "make the environment with a newer Python"
        )
    else:
        yield fine("python", version)
    try:
        declared = metadata.requires(_DISTRIBUTION) or [] if requirements is None else requirements
    except metadata.PackageNotFoundError:
        yield warning("packages", "nightflow itself is not installed: its requirements are unknown", _MEND)
        return
    yield from _compared(declared)


def _compared(declared: Iterable[str]) -> Iterator[Finding]:
    wanted = [Requirement(text) for text in declared]
    plain = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    bad = [finding for finding in map(_compare, plain) if finding is not None]
    yield from bad
    if not bad:
        shown = ", ".join(
            f"{name} {metadata.version(name)}" for name in ("prefect", "astropy", "sep", "numpy")
        )
        yield fine("packages", f"all {len(plain)} are here: {shown}, ...")


def _compare(wanted: Requirement) -> Finding | None:
    try:
        installed = metadata.version(wanted.name)
    except metadata.PackageNotFoundError:
        return fault("packages", f"{wanted.name} is not installed; {wanted} is needed", _MEND)
    if not wanted.specifier.contains(installed, prereleases=True):
        return fault("packages", f"{wanted.name} is {installed}; {wanted} is needed", _MEND)
    return None
