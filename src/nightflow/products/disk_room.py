"""Room that products leave on their disk, where ledger and masters, which the night needs, may lie too."""

from __future__ import annotations

from pathlib import Path

from nightflow.folders import free_bytes
from nightflow.products.quota import NoRoom, Quota

__all__ = ["keep_room"]

_GIB = 2**30


def keep_room(folder: Path, size: int, *, room_gib: float, quota: Quota | None = None) -> None:
    """See to it that a product leaves room on its disk; the oldest ones go for it where there is a quota.

    Where others, raw frames perhaps, have taken that room already, no more go than the product needs: the
    room does not become less by it, and it is not for products to make up for others.

    Parameters
    ----------
    folder : Path
        Of the products.
    size : int
        Bytes of the product, at most.
    room_gib : float
        GiB that are to stay free, as `notify.room_gib`.
    quota : Quota, optional

    Raises
    ------
    NoRoom
        The product must not be written.
    OSError
        The quota cannot look at the folder, or remove from it.
    """
    if quota is not None:
        quota.make_room(size)
    free, stays = free_bytes(folder), int(room_gib * _GIB)
    if free is None or room_gib == 0:  # a disk that is away tells it when it is written to
        return
    if quota is not None and free - size < stays:
        stays = min(stays, free)
        quota.give_way(stays + size - free, lambda: free_bytes(folder) or 0)
        free = free_bytes(folder) or 0
    if free - size < stays:
        raise NoRoom(
            f"{folder}: {free / _GIB:.1f} GiB left on its disk, notify.room_gib = {room_gib:g} are to stay "
            "free for ledger and masters; delete old products, set products.quota, or lower notify.room_gib"
        )
