"""What a camera profile says of amplifiers, their linearity and their crosstalk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeVar

import numpy as np
from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from nightflow.instruments.amplifiers import Corner
from nightflow.instruments.settings_model import SettingsModel
from nightflow.instruments.values import parse_section

__all__ = [
    "AmplifierSettings",
    "AmplifiersSetting",
    "CrosstalkMatrix",
    "LinearitySettings",
    "Section",
    "setting_for",
]

EVERY = "all"
"""Key of the setting that holds where no closer one is given."""

_Setting = TypeVar("_Setting")


def _section(text: str) -> str:
    """Check a FITS section."""
    if parse_section(text) is None:
        raise ValueError('not a FITS section such as "[1025:1056,1:1024]"')
    return text


def _crosstalk(matrix: list[list[float]]) -> list[list[float]]:
    """Check that a matrix is square, empty on its diagonal, and small beside it."""
    size = len(matrix)
    if size < 2 or any(len(row) != size for row in matrix):
        raise ValueError("needs a row for each amplifier (the victim), a number for each in it (the source)")
    if any(matrix[number][number] != 0 for number in range(size)):
        raise ValueError("must be 0 on the diagonal: no amplifier disturbs itself")
    if any(abs(value) >= 0.1 for row in matrix for value in row):
        raise ValueError("holds 0.1 or more; crosstalk is a fraction of the source, mostly below 0.01")
    return matrix


Section = Annotated[str, AfterValidator(_section)]
"""A region in FITS notation: 1-based, both ends included, columns first."""

CrosstalkMatrix = Annotated[list[list[float]], AfterValidator(_crosstalk)]
"""[victim][source]: fraction of the source's counts that appears in the victim's."""


class AmplifierSettings(SettingsModel):
    """One amplifier of a chip; what is not given here is read from the header of its HDU."""

    name: str = Field(min_length=1)
    detector: str = ""
    """Name of the chip that it is on; "": such an amplifier is on every chip of the camera."""
    hdu: int = Field(1, ge=1)
    """Which of the HDUs of its chip holds its pixels, counted from 1."""
    data: Section
    """Pixels of that HDU that see light."""
    chip: Section
    """Where they belong on the chip, in binned pixels; a range written backwards ("[1024:513,1:512]") is a
    flip."""
    overscan: Section | None = None
    """Pixels of that HDU that see no light."""
    corner: Corner | None = None
    """Corner of ``chip`` in which the amplifier sits; None: its first pixel in the file was read first."""
    gain: float | None = Field(None, gt=0)
    """Electrons per ADU."""
    read_noise: float | None = Field(None, ge=0)
    """Electrons."""
    saturation: float | None = Field(None, gt=0)
    """Raw ADU."""


def _tables(tables: list[AmplifierSettings]) -> list[AmplifierSettings]:
    """Check that each amplifier has a name of its own, and that no HDU is left out."""
    names = [(table.detector, table.name) for table in tables]
    if len(set(names)) < len(names):
        raise ValueError("two amplifiers of one chip have the same name")
    hdus = {table.hdu for table in tables}
    if hdus != set(range(1, len(hdus) + 1)):
        raise ValueError(f"hdu counts the HDUs of a chip from 1 without a gap, got {sorted(hdus)}")
    return tables


def _kind_of_amplifiers(value: Any) -> str:
    return "header" if isinstance(value, str) else "tables"


AmplifiersSetting = Annotated[
    Annotated[Literal["header"], Tag("header")]
    | Annotated[list[AmplifierSettings], AfterValidator(_tables), Tag("tables")],
    Discriminator(_kind_of_amplifiers),
]
"""Either "header" or a list of tables, told apart so that a fault is reported for the one that was meant."""


class LinearitySettings(SettingsModel):
    """True counts for measured ones, both ADU above the bias; either a polynomial or a table."""

    polynomial: list[float] = []
    """[a, b, c, ...]: true = a m + b m^2 + c m^3 + ...; a is 1 where faint counts are taken as true."""
    maximum: float | None = Field(None, gt=0)
    """Measured counts up to which the polynomial was calibrated."""
    table: list[tuple[float, float]] = []
    """[[measured, true], ...], both growing; straight lines between, calibrated up to the last."""

    @model_validator(mode="after")
    def _one_curve(self) -> Self:
        if bool(self.polynomial) == bool(self.table):
            raise ValueError("give either polynomial (with maximum) or table")
        if self.polynomial:
            self._check_polynomial()
        else:
            self._check_table()
        return self

    def _check_polynomial(self) -> None:
        if self.maximum is None:
            raise ValueError("polynomial needs maximum: the measured counts up to which it was calibrated")
        slope = np.polynomial.Polynomial([0.0, *self.polynomial]).deriv()
        if slope(np.linspace(0.0, self.maximum, 1001)).min() <= 0:
            raise ValueError(f"polynomial does not grow everywhere from 0 to maximum = {self.maximum:g}")

    def _check_table(self) -> None:
        measured, true = np.array(self.table, float).T
        if len(measured) < 2 or np.diff(measured).min() <= 0 or np.diff(true).min() <= 0:
            raise ValueError("table needs two rows or more, and both columns must grow from row to row")


def setting_for(settings: Mapping[str, _Setting], detector: str, amplifier: str = "") -> _Setting | None:
    """Return the closest of the settings that are given by name.

    The keys are tried in the order "DETECTOR AMPLIFIER", amplifier, detector, "all".

    Parameters
    ----------
    settings : mapping of str
        As in a profile.
    detector, amplifier : str
        Names; untrusted text.
    """
    keys = (f"{detector} {amplifier}", amplifier, detector, EVERY)
    return next((settings[key] for key in keys if key in settings), None)
