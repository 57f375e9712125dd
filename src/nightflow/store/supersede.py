"""What follows when a file is replaced by another one under the same path."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from nightflow.store.database import Database, serialise
from nightflow.store.ledger import PLACE
from nightflow.store.models import Exposure, Frame, State
from nightflow.store.retire import retire_frame

__all__ = ["supersede_replaced"]

_SAME_MOMENT = 0.5 / 86400.0
"""Days. Two frames of one detector so near in time are the same exposure of the sky."""


def supersede_replaced(
    database: Database, exposure_id: int, content_at: Callable[[str], str | None], *, now: datetime
) -> list[int]:
    """Retire exposures that hold the same frame, written differently, as the one that took their place.

    A file that was completed or corrected after it was first taken is a new exposure of the ledger; without
    this, its stars would be in the light curves twice. A path that a camera uses again on another night holds
    another moment: its old rows stay.

    Which one stays of those that are done is said by what lies at their path now, whichever ended first.
    Where that is none of them, it is the one that was queued last: its content was there later.

    Parameters
    ----------
    exposure_id : int
        An exposure that is done.
    content_at : callable
        Returns the hash of what lies at a path. Asked only where there is something to retire.
    now : datetime
        Aware.

    Returns
    -------
    list of int
        The exposures that were retired, perhaps this one: state ``rejected``, with a reason that names the
        one that stays.
    """
    with database.session() as session:
        versions, paths = _versions(session, exposure_id)
    if len(versions) < 2:
        return []
    contents = {content_at(path) for path in paths}
    with database.write() as session:
        # Counts of observations are changed below: nobody else may count meanwhile.
        serialise(session, "association")
        locked = _locked(session, [one.id or 0 for one in versions])
        # One that has come since looks at these itself when it is done.
        versions = [one for one in _versions(session, exposure_id)[0] if one.id in locked]
        done = [one for one in versions if one.state == State.DONE]
        if not done:
            return []
        stays = max(done, key=lambda one: _rank(one, contents))
        replaced = [one for one in versions if _rank(one, contents) < _rank(stays, contents)]
        for one in replaced:
            _retire(session, one, stays, now)
        return [one.id for one in replaced if one.id is not None]


def _locked(session: Session, exposure_ids: Sequence[int]) -> set[int | None]:
    """Keep exposures from being taken or settled until the transaction ends; return which there are."""
    chosen = select(Exposure.id).where(col(Exposure.id).in_(exposure_ids))
    return set(session.exec(chosen.order_by(col(Exposure.id)).with_for_update()).all())


def _versions(session: Session, exposure_id: int) -> tuple[list[Exposure], set[str]]:
    """Return an exposure and those of the same frame, and the paths at which they took each other's place."""
    exposure = session.get(Exposure, exposure_id)
    if exposure is None:
        return [], set()
    alike = _of_the_same_moment(session, exposure_id)
    if not alike:
        return [exposure], set()
    places = _places(session, [exposure, *alike])
    own = places[exposure.sha256]
    versions = [one for one in alike if _is_one_file(places[one.sha256], own)]
    return [exposure, *versions], set().union(*(places[one.sha256] & own for one in versions))


def _is_one_file(places: set[str], others: set[str]) -> bool:
    """Return whether two contents took each other's place, and were not filed apart from there."""
    return bool(places & others) and not (places - others and others - places)


def _places(session: Session, alike: Sequence[Exposure]) -> dict[str, set[str]]:
    """Return at which paths each content of one moment lay, by its hash.

    A name that other moments come under is a place only of what has no other: a camera that files its frames
    under names of their own has not replaced the one by the other, however fast they come.
    """
    contents = [one.sha256 for one in alike]
    rows = select(Exposure.sha256, Exposure.path).where(col(Exposure.sha256).in_(contents))
    found = {(one.sha256, one.path) for one in alike}
    received = {(sha256, path) for sha256, path in session.exec(rows).all()}
    reused = {path for path in {path for _, path in received - found} if _is_reused(session, path, contents)}
    places: dict[str, set[str]] = {}
    for sha256, path in found | {row for row in received if row[1] not in reused}:
        places.setdefault(sha256, set()).add(path)
    return places


def _is_reused(session: Session, path: str, contents: Sequence[str]) -> bool:
    """Return whether frames of another moment than these contents came under a path, or may have."""
    other = aliased(Exposure)
    timed = select(Frame.id).where(Frame.exposure_id == other.id, col(Frame.mjd_mid).is_not(None))
    under_way = col(other.state).in_([State.RECEIVED, State.REDUCING])
    found = (
        select(other.id)
        .join(Exposure, col(Exposure.sha256) == col(other.sha256))
        .where(
            Exposure.path == path,
            col(Exposure.sha256).not_in(contents),
            other.state != State.DUPLICATE,
            under_way | timed.exists(),
        )
    )
    return session.exec(found.limit(1)).first() is not None


def _of_the_same_moment(session: Session, exposure_id: int) -> list[Exposure]:
    own = aliased(Frame)
    ids = (
        select(Frame.exposure_id)
        .join(own, col(own.detector) == col(Frame.detector))
        .where(
            own.exposure_id == exposure_id,
            own.state != State.DUPLICATE,
            Frame.state != State.DUPLICATE,
            Frame.exposure_id != exposure_id,
            col(Frame.mjd_mid) > own.mjd_mid - _SAME_MOMENT,  # type: ignore[operator]
            col(Frame.mjd_mid) < own.mjd_mid + _SAME_MOMENT,  # type: ignore[operator]
        )
    )
    alike = select(Exposure).where(col(Exposure.id).in_(ids), col(Exposure.state) != State.DUPLICATE)
    return list(session.exec(alike.order_by(col(Exposure.id))).all())


def _rank(exposure: Exposure, contents: Collection[str | None]) -> tuple[bool, datetime, int]:
    """Return by what the version that stays is chosen, the greatest."""
    return exposure.sha256 in contents, exposure.last_queued, exposure.id or 0


def _retire(session: Session, exposure: Exposure, successor: Exposure, now: datetime) -> None:
    reason = f"the file was replaced; exposure {successor.id} holds its new content"
    exposure.state, exposure.reason = State.REJECTED, reason
    exposure.waits_for, exposure.retry_at, exposure.done_at = PLACE, None, now
    # Whoever has it in work finds that it has lost it.
    exposure.leased_by = exposure.lease_until = None
    frames = select(Frame).where(Frame.exposure_id == exposure.id, Frame.state != State.DUPLICATE)
    for frame in session.exec(frames).all():
        retire_frame(session, frame, State.REJECTED, reason)
