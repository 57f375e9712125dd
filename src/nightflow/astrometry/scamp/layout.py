"""How the chips of a camera lie to each other: learned from a good solution, kept as an `.ahead` file.

A layout is one header a chip, told by EXTNAME, all about the same point of contact (CRVAL), with whatever
distortion the chip has. Put onto the sky of another exposure it is moved, turned and scaled as a whole, by
the chips whose place is known there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from nightflow.astrometry.plate import Plate, sip_powers
from nightflow.astrometry.projection import from_plane, to_plane
from nightflow.astrometry.scamp.headers import read_head, tpv_header, wcs_of_head, write_ahead
from nightflow.errors import ConfigurationError, NoSolution
from nightflow.fits_output import printable, replacing

__all__ = ["Placed", "chip_key", "learn_layout", "plate_about", "predict", "read_layout", "write_layout"]

Array = NDArray[np.float64]

_GRID = 12
_ROUNDS = 8
_ORDERS = (1, 2, 3, 4)
_CLOSE = 2e-3
"""Pixels to which a plate must follow the WCS it is made of."""


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A chip whose place on the sky is known: its WCS and its shape, (ny, nx)."""

    wcs: WCS
    shape: tuple[int, int]


def chip_key(name: str) -> str:
    """Return a chip's name as EXTNAME holds it."""
    return printable(name).strip()[:60]


def plate_about(wcs: WCS, shape: tuple[int, int], ra0: float, dec0: float) -> Plate:
    """Return the plate about a point of contact, on the chip or beside it, that follows a WCS over the chip.

    Parameters
    ----------
    ra0, dec0 : float
        ICRS degrees; the plate's reference pixel is the one that a linear continuation puts there.

    Returns
    -------
    Plate
        Of the lowest order that follows the WCS to 0.002 pixels, at most 4.
    """
    x, y = _pixels(shape)
    ra, dec = wcs.all_pix2world(x, y, 0)
    xi, eta = to_plane(ra, dec, ra0, dec0)
    middle = (shape[1] - 1) / 2.0, (shape[0] - 1) / 2.0
    for order in _ORDERS:
        offset, linear, extra = _polynomial(x - middle[0], y - middle[1], xi, eta, order)
        x0, y0 = np.array(middle) + _root(offset, linear, extra, order)
        offset, linear, extra = _polynomial(x - x0, y - y0, xi, eta, order)
        sip = np.linalg.solve(linear, extra)
        plate = Plate(
            ra0=ra0, dec0=dec0, x0=float(x0), y0=float(y0), cd=linear, order=order, a=sip[0], b=sip[1]
        )
        worst = np.max(np.hypot(*(np.stack(plate.plane(x, y)) - np.stack([xi, eta]))))
        if worst * 3600.0 <= _CLOSE * plate.scale:
            break
    return plate


def learn_layout(chips: Mapping[str, Placed], ra0: float, dec0: float) -> dict[str, fits.Header]:
    """Return the layout that chips of one exposure show, about (ra0, dec0)."""
    layout = {}
    for name, chip in chips.items():
        header = tpv_header(plate_about(chip.wcs, chip.shape, ra0, dec0), chip.shape)
        header["EXTNAME"] = chip_key(name)
        layout[chip_key(name)] = header
    return layout


def write_layout(path: Path, layout: Mapping[str, fits.Header]) -> None:
    """Write a layout; the file is whole or not there."""
    with replacing(path) as partial:
        write_ahead(partial, list(layout.values()))


def read_layout(path: Path) -> dict[str, fits.Header]:
    """Read what `write_layout` wrote, or another `.ahead` file whose blocks have EXTNAME.

    Raises
    ------
    ConfigurationError
        It cannot be read, a block has no EXTNAME or two have the same, or a card is wrong.
    """
    try:
        headers = read_head(path)
    except (OSError, NoSolution) as error:
        raise ConfigurationError(f"{path}: no readable layout of a camera: {error}") from error
    layout: dict[str, fits.Header] = {}
    for number, header in enumerate(headers, start=1):
        name = chip_key(str(header.get("EXTNAME", "")))
        if not name or name in layout:
            raise ConfigurationError(
                f"{path}: chip {number} has EXTNAME {name!r}: give each chip's block the name of the chip"
            )
        layout[name] = header
    if not layout:
        raise ConfigurationError(f"{path}: no chip in it; `nightflow scamp --learn` writes a layout")
    return layout


def predict(
    layout: Mapping[str, fits.Header],
    known: Mapping[str, Placed],
    wanted: Mapping[str, tuple[int, int]],
    *,
    pointing: tuple[float, float] | None = None,
) -> dict[str, Plate]:
    """Return where a layout puts chips, given the places of some others in the same exposure.

    Parameters
    ----------
    layout : mapping
        As `read_layout` gives it.
    known : mapping of name to Placed
        Chips with a WCS that stands.
    wanted : mapping of name to tuple of int
        Chips to be placed, with their shapes; those that the layout lacks are passed over.
    pointing : tuple of float, optional
        ICRS degrees to which the telescope looks, roughly; used where no known chip is part of the layout,
        with the camera turned as it was when the layout was learned.

    Returns
    -------
    dict of name to Plate
        Empty where neither a known chip nor a pointing says where the camera looks.
    """
    if not layout:
        return {}
    about = next(iter(layout.values()))
    origin = float(about["CRVAL1"]), float(about["CRVAL2"])
    shared = {name: chip for name, chip in known.items() if chip_key(name) in layout}
    if shared:
        ra0, dec0, turn = _seen(layout, shared, origin)
    elif pointing is not None:
        (ra0, dec0), turn = pointing, np.eye(2)
    else:
        return {}
    return {
        name: replace(plate, ra0=ra0, dec0=dec0, cd=turn @ plate.cd)
        for name, plate in (
            (name, _plate(layout, name, shape, origin))
            for name, shape in wanted.items()
            if chip_key(name) in layout
        )
    }


def _plate(
    layout: Mapping[str, fits.Header], name: str, shape: tuple[int, int], origin: tuple[float, float]
) -> Plate:
    return plate_about(wcs_of_head(layout[chip_key(name)]), shape, *origin)


def _seen(
    layout: Mapping[str, fits.Header], known: Mapping[str, Placed], origin: tuple[float, float]
) -> tuple[float, float, Array]:
    """Return point of contact and turn with which the layout lies on the chips that are known."""
    there, here = [], []
    for name, chip in known.items():
        x, y = _pixels(chip.shape)
        there.append(_plate(layout, name, chip.shape, origin).plane(x, y))
        here.append(chip.wcs.all_pix2world(x, y, 0))
    return _onto(np.hstack(there), np.hstack(here))


def _onto(plane: Array, sky: Array) -> tuple[float, float, Array]:
    """Return point of contact and similarity that bring a plane, shape (2, n), onto places, shape (2, n)."""
    ra0, dec0 = float(sky[0, 0]), float(sky[1, 0])
    z = plane[0] + 1j * plane[1]
    for _ in range(_ROUNDS):
        xi, eta = to_plane(sky[0], sky[1], ra0, dec0)
        (factor, shift), *_ = np.linalg.lstsq(
            np.column_stack([z, np.ones_like(z)]), xi + 1j * eta, rcond=None
        )
        moved = from_plane(np.array([shift.real]), np.array([shift.imag]), ra0, dec0)
        ra0, dec0 = float(moved[0][0]), float(moved[1][0])
    turn = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return ra0, dec0, turn


def _pixels(shape: tuple[int, int]) -> tuple[Array, Array]:
    ny, nx = shape
    y, x = np.meshgrid(np.linspace(-0.5, ny - 0.5, _GRID), np.linspace(-0.5, nx - 0.5, _GRID))
    return x.ravel(), y.ravel()


def _polynomial(u: Array, v: Array, xi: Array, eta: Array, order: int) -> tuple[Array, Array, Array]:
    """Return constant (2,), linear (2, 2) and higher terms (2, n) of the plane as polynomials of pixels."""
    unit = float(np.max(np.hypot(u, v)))
    powers: Sequence[tuple[int, int]] = [(0, 0), (1, 0), (0, 1), *sip_powers(order)]
    design = np.column_stack([(u / unit) ** p * (v / unit) ** q for p, q in powers])
    solved = np.linalg.lstsq(design, np.column_stack([xi, eta]), rcond=None)[0]
    solved = (solved / np.array([unit ** (p + q) for p, q in powers])[:, None]).T
    return solved[:, 0], solved[:, 1:3], solved[:, 3:]


def _root(offset: Array, linear: Array, extra: Array, order: int) -> Array:
    """Return the pixel offset at which the polynomial vanishes, by Newton's method from the linear one."""
    place = np.linalg.solve(linear, -offset)
    for _ in range(_ROUNDS):
        u, v = place
        value, slope = offset + linear @ place, linear.copy()
        for (p, q), terms in zip(sip_powers(order), extra.T, strict=True):
            value = value + terms * u**p * v**q
            slope[:, 0] += terms * p * u ** max(p - 1, 0) * v**q
            slope[:, 1] += terms * q * u**p * v ** max(q - 1, 0)
        place = place - np.linalg.solve(slope, value)
    return np.asarray(place, np.float64)
