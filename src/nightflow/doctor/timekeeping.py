"""The clock of this machine, and the tables of the Earth's rotation and leap seconds."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata

from astropy.time import Time
from astropy.utils import iers

from nightflow.doctor.finding import Finding, fault, fine, remark, warning
from nightflow.epochs import mjd_of

__all__ = ["check_clock", "check_tables"]

_PATIENCE = 3.0
_UPDATE = "pip install --upgrade astropy-iers-data"


def check_clock(now: datetime, synchronised: str | None = None) -> Iterator[Finding]:
    """Compare the clock with the age of the installed tables, and ask the system whether it is kept right.

    Parameters
    ----------
    now : datetime
        Aware.
    synchronised : "yes", "no" or "", optional
        What the system says; asked where not given, "" where it does not know.
    """
    made = _tables_made()
    if now < made:
        message = f"{now:%Y-%m-%d %H:%M} UTC is before the installed tables were made ({made:%Y-%m-%d})"
        yield fault("clock", message, "set the clock: `timedatectl set-ntp true`, or a GPS receiver")
        return
    answer = _ask_system() if synchronised is None else synchronised
    said = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    if answer == "no":
        yield warning("clock", f"{said}, not synchronised", "`timedatectl set-ntp true`, or install chrony")
    elif answer == "yes":
        yield fine("clock", f"{said}, synchronised")
    else:
        yield remark("clock", f"{said}; the system does not say whether it is synchronised")


def check_tables(now: datetime) -> Iterator[Finding]:
    """Look whether the installed tables of leap seconds and Earth rotation reach to this night."""
    mjd = mjd_of(now)
    expires = Time(iers.LeapSeconds.from_iers_leap_seconds(iers.IERS_LEAP_SECOND_FILE).expires)
    last = float(iers.IERS_A.open(iers.IERS_A_FILE)["MJD"].to_value("d").max())
    if mjd > expires.mjd:
        yield warning(
            "leap seconds", f"the table ended on {expires.isot[:10]}: BJD may be off by 1 s", _UPDATE
        )
    else:
        yield fine("leap seconds", f"known until {expires.isot[:10]}")
    until = Time(last, format="mjd").isot[:10]
    if mjd > last:
        yield warning("earth rotation", f"the table ended on {until}: airmass and BJD lose a little", _UPDATE)
    else:
        yield fine("earth rotation", f"known until {until}, from the installed package")


def _tables_made() -> datetime:
    year, month, day = metadata.version("astropy-iers-data").split(".")[1:4]
    return datetime(int(year), int(month), int(day), tzinfo=UTC)


def _ask_system() -> str:
    program = shutil.which("timedatectl")
    if program is None:
        return ""
    try:
        done = subprocess.run(
            [program, "show", "--property=NTPSynchronized", "--value"],
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        # Without systemd running it cannot tell.
        return ""
    answer = done.stdout.strip()
    return answer if answer in ("yes", "no") else ""
