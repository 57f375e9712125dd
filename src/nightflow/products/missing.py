"""What a report needs and was not given, said in one go."""

from __future__ import annotations

from collections.abc import Iterable

from nightflow.errors import ConfigurationError

__all__ = ["refuse"]


def refuse(faults: Iterable[str]) -> None:
    """Raise one error that holds all faults; none where all of them are empty.

    Parameters
    ----------
    faults : iterable of str
        What is wrong with each thing that is asked for, and the mend; "" where it is right.

    Raises
    ------
    ConfigurationError
        There is any.
    """
    said = [one for one in faults if one]
    if said:
        raise ConfigurationError("; ".join(said))
