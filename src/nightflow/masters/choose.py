"""Choose the master for a frame, and say why the others do not fit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nightflow.errors import MissingCalibration
from nightflow.instruments.header import FrameKind
from nightflow.instruments.profile import MasterSettings
from nightflow.masters.keys import OF_A_FILTER, MasterKey, Mismatch, days_apart, mismatches, same_exposure

__all__ = ["Candidate", "Choice", "RuledOut", "choose", "missing_calibration"]

LISTED = 3
"""How many candidates a message about a miss names."""


@dataclass(frozen=True, kw_only=True)
class Candidate(MasterKey):
    """A master as the choice sees it.

    Attributes
    ----------
    valid_from, valid_until : float
        MJD between which it may be used.
    state, reason : str
        provisional, approved or rejected, and why.
    fingerprint : str
        Identifies it.
    spoiled : str
        What it was made with that is rejected since, in words; "" where nothing is.
    """

    valid_from: float = float("-inf")
    valid_until: float = float("inf")
    state: str = "approved"
    reason: str = ""
    fingerprint: str
    spoiled: str = ""


@dataclass(frozen=True)
class RuledOut:
    """A candidate that does not fit, the first key that ruled it out, and the values in words."""

    candidate: Candidate
    key: str
    detail: str


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Attributes
    ----------
    fitting : tuple of Candidate
        All that fit, the best first.
    ruled_out : tuple of RuledOut
        Of the kind that was looked for: fewest mismatches first, then nearest in time.
    warnings : tuple of str
        What could not be compared.
    """

    fitting: tuple[Candidate, ...]
    ruled_out: tuple[RuledOut, ...]
    warnings: tuple[str, ...] = ()

    @property
    def candidate(self) -> Candidate | None:
        """The best of those that fit."""
        return self.fitting[0] if self.fitting else None


def choose(
    kind: FrameKind,
    wanted: MasterKey,
    candidates: Iterable[Candidate],
    settings: MasterSettings,
    *,
    any_exposure: bool = False,
) -> Choice:
    """Choose the master nearest in time among those that match, an approved one before any provisional one.

    Parameters
    ----------
    kind : FrameKind
        Bias, dark or flat.
    wanted : MasterKey
        Of the frame that is to be calibrated.
    candidates : iterable of Candidate
        Masters of any kind; those of other kinds are passed over.
    settings : MasterSettings
        Keys that must match, and tolerances.
    any_exposure : bool
        Darks are scaled: one of the right exposure is still preferred to any other.

    Returns
    -------
    Choice
        Ties go to the smaller fingerprint, so that the answer does not depend on the order.
    """
    fitting: list[Candidate] = []
    failing: list[tuple[Candidate, list[Mismatch]]] = []
    for candidate in candidates:
        if candidate.kind != kind:
            continue
        faults = _faults(kind, wanted, candidate, settings, any_exposure)
        if faults:
            failing.append((candidate, faults))
        else:
            fitting.append(candidate)
    failing.sort(key=lambda item: (len(item[1]), days_apart(wanted, item[0]), item[0].fingerprint))
    ruled_out = tuple(RuledOut(candidate, faults[0].key, faults[0].detail) for candidate, faults in failing)
    fitting.sort(key=lambda candidate: _rank(kind, wanted, candidate, settings))
    return Choice(tuple(fitting), ruled_out, _unknown(kind, wanted, fitting[0] if fitting else None))


def missing_calibration(
    kind: FrameKind, wanted: MasterKey, ruled_out: Sequence[RuledOut]
) -> MissingCalibration:
    """Return the error that says what is missing, for which camera, and why the nearest ones do not fit."""
    needed = f" of {wanted.exptime:g} s" if kind is FrameKind.DARK else ""
    if kind in OF_A_FILTER:
        needed = f" in {wanted.filter}"
    message = f"no {kind}{needed} for {wanted.instrument} {wanted.binning_text}"
    nearest = [f"{out.candidate.describe(wanted)} ({out.detail})" for out in ruled_out[:LISTED]]
    if not nearest:
        return MissingCalibration(f"{message}: no candidate at all")
    return MissingCalibration(f"{message}: nearest candidates: {nearest[0]}", nearest[1:])


def _faults(
    kind: FrameKind, wanted: MasterKey, candidate: Candidate, settings: MasterSettings, any_exposure: bool
) -> list[Mismatch]:
    faults = mismatches(kind, wanted, candidate, settings, any_exposure=any_exposure)
    if candidate.state == "rejected":
        why = f": {candidate.reason}" if candidate.reason else ""
        faults.append(Mismatch("state", f"state rejected{why}"))
    elif candidate.spoiled:
        faults.append(Mismatch("state", candidate.spoiled))
    if wanted.mjd_mid is not None and not candidate.valid_from <= wanted.mjd_mid <= candidate.valid_until:
        faults.append(
            Mismatch("validity", f"valid from MJD {candidate.valid_from:.2f} to {candidate.valid_until:.2f}")
        )
    return faults


def _rank(
    kind: FrameKind, wanted: MasterKey, candidate: Candidate, settings: MasterSettings
) -> tuple[bool, bool, float, str]:
    scaled = kind == FrameKind.DARK and not same_exposure(
        wanted.exptime, candidate.exptime, settings.exposure_tolerance
    )
    return candidate.state != "approved", scaled, days_apart(wanted, candidate), candidate.fingerprint


def _unknown(kind: FrameKind, wanted: MasterKey, best: Candidate | None) -> tuple[str, ...]:
    if best is None:
        return ()
    warnings = []
    if wanted.mjd_mid is None:
        warnings.append(f"{kind}: time of the frame unknown; validity not checked")
    if kind == FrameKind.DARK and (wanted.ccd_temp is None or best.ccd_temp is None):
        warnings.append("dark: temperature unknown; not compared")
    return tuple(warnings)
