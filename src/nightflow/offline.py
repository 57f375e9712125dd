"""What is never fetched while frames are reduced."""

from __future__ import annotations

__all__ = ["stay_offline"]


def stay_offline() -> None:
    """Let astropy fetch nothing: the dome may have no network, and what it needs came with the packages."""
    from astropy.utils import data, iers  # a third of a second, which help need not wait for

    iers.conf.auto_download = False
    iers.conf.iers_degraded_accuracy = "ignore"
    iers.conf.auto_max_age = None
    data.conf.allow_internet = False
