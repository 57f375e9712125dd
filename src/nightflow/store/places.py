"""The places where contents were received, for whoever looks after many files without reading them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import exists
from sqlalchemy.orm import aliased
from sqlmodel import col, select

from nightflow.store.database import Database
from nightflow.store.models import Exposure, State

__all__ = ["Place", "places_of"]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a content was received.

    Attributes
    ----------
    path : str
        See `nightflow.file_names`.
    size : int
        Of the content, bytes.
    shared : bool
        Whether another content of that size was received there, too: the size does not tell which it is.
    """

    path: str
    size: int
    shared: bool


def places_of(database: Database, contents: Collection[str]) -> dict[str, list[Place]]:
    """Return where each of some contents was received, its exposure's own place first."""
    other = aliased(Exposure)
    shared = exists().where(
        col(other.path) == col(Exposure.path),
        col(other.size) == col(Exposure.size),
        col(other.sha256) != col(Exposure.sha256),
    )
    statement = (
        select(Exposure.sha256, Exposure.path, Exposure.size, shared)
        .where(col(Exposure.sha256).in_(list(contents)))
        .order_by(col(Exposure.state) == State.DUPLICATE, col(Exposure.id))
    )
    places: defaultdict[str, list[Place]] = defaultdict(list)
    with database.session() as session:
        for sha256, path, size, is_shared in session.exec(statement).all():
            places[sha256].append(Place(path=path, size=size, shared=is_shared))
    return dict(places)
