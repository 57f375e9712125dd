"""What a joint solution by SCAMP leaves for people and for programs that come after: a folder of files.

    combined_acat.fits          FITS_LDAC, two tables a chip: the stars that SCAMP was given
    combined_acat.ahead, .head  where it started, and its answer
    combined_acat.change.fits   FITS_LDAC of all stars, with their places by the new WCS
    gaia_ldac.fits              the reference stars, whatever catalogue they are of
    merged_1.cat, full_1.cat    SCAMP's catalogues of stars and of detections
    CHIP_img.head               a FITS header: the chip's WCS and how good it is
    scamp_coord.txt             right ascension and declination of all stars, degrees
    radec_off.png               offsets from the catalogue
    nightflow.scamp, scamp.xml  what SCAMP was told, and what it says of itself

Of several exposures, each has files of its own: EXPOSURE.fits and so on, EXPOSURE_CHIP_img.head.
"""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from nightflow.astrometry.scamp.frames import ChipAnswer, ChipFrame, Exposure, Together
from nightflow.astrometry.scamp.headers import wcs_cards
from nightflow.astrometry.scamp.ldac import LdacChip, chip_header, write_ldac
from nightflow.astrometry.scamp.offsets import Offsets, offsets_of
from nightflow.errors import ConfigurationError
from nightflow.fits_output import card, is_temporary, remove_leftovers, temporary_beside
from nightflow.folders import nearest_existing
from nightflow.software import SOFTWARE

__all__ = [
    "COORDINATES",
    "PLOT",
    "check_scamp_folder",
    "chip_files",
    "chip_offsets",
    "quality_cards",
    "write_scamp_folder",
]

Array = NDArray[np.float64]

COORDINATES, PLOT = "scamp_coord.txt", "radec_off.png"
_MARK = "nightflow.scamp"
"""Shows that a folder is ours, and lists below SCAMP's settings which of its files are."""
_WRITTEN = "# written beside this: "
_OURS = re.compile(
    r"nightflow\.scamp|scamp\.xml|gaia_ldac\.fits|scamp_coord\.txt|radec_off\.png|(full|merged)_\d+\.cat"
    r"|(combined_acat|.+-e\d+)\.(fits|ahead|head|change\.fits)|.+_img\.head"
)
"""Names that this module and SCAMP give: what is taken for ours where a mark, an old one, lists nothing."""
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_LONGEST = 40


def write_scamp_folder(
    folder: Path,
    scamp: Path,
    exposures: Sequence[Exposure],
    together: Together,
    offsets: Sequence[Offsets],
    plot: bytes,
    *,
    now: datetime,
) -> list[Path]:
    """Write the files; those of an earlier solution give way, nothing else does.

    Parameters
    ----------
    folder : Path
        Made where it is absent; else empty, or written by this function before.
    scamp : Path
        Where SCAMP worked.
    exposures, together : sequence of Exposure, Together
        What went in, and what came out.
    offsets : sequence of Offsets
        As `chip_offsets` gives them.
    plot : bytes
        The PNG.
    now : datetime
        Aware.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    ConfigurationError
        See `check_scamp_folder`; or it could not be written after all.
    """
    check_scamp_folder(folder)
    try:
        return _write(folder, scamp, exposures, together, offsets, plot, now)
    except OSError as error:
        raise _unwritable(folder, str(error)) from error


def check_scamp_folder(folder: Path) -> None:
    """Look whether files of a solution may be written there; nothing is.

    Raises
    ------
    ConfigurationError
        It holds other files, is no folder, or cannot be written.
    """
    there = nearest_existing(folder)
    if not there.is_dir():
        raise ConfigurationError(f"{there}: is no folder; name another one (--out FOLDER)")
    if not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        raise _unwritable(folder, f"no right to write into {there}, or a read-only disk")
    if folder.exists() and not (folder / _MARK).is_file() and not all(map(is_temporary, folder.iterdir())):
        raise ConfigurationError(
            f"{folder}: holds files that are not of an earlier solution; name another folder (--out FOLDER)"
        )


def _unwritable(folder: Path, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"{folder}: cannot be written: {why}; mend that, or name another folder (--out FOLDER)"
    )


def _write(
    folder: Path,
    scamp: Path,
    exposures: Sequence[Exposure],
    together: Together,
    offsets: Sequence[Offsets],
    plot: bytes,
    now: datetime,
) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder, now)
    partial = temporary_beside(folder / _MARK)
    try:
        shutil.copytree(scamp, partial, ignore=shutil.ignore_patterns(".*"))
        _write_stars(partial, exposures, together)
        (partial / PLOT).write_bytes(plot)
        names = chip_files(exposures)
        for answer, off in zip(together.answers, offsets, strict=True):
            header = _chip_header(answer, off, together.degree, now)
            (partial / names[answer.exposure, answer.chip]).write_bytes(header.tostring().encode("ascii"))
        _list_in_mark(partial)
        return _swap(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def chip_files(exposures: Sequence[Exposure]) -> dict[tuple[str, str], str]:
    """Return the name of each chip's header: no text of a header as it is, and no two alike."""
    wanted = {
        (exposure.name, chip.name): "_".join(
            ([exposure.name] if len(exposures) > 1 else []) + [_plain(chip.name) or "chip"]
        )
        for exposure in exposures
        for chip in exposure.chips
    }
    often = Counter(wanted.values())
    return {
        key: f"{stem}-{number}_img.head" if often[stem] > 1 else f"{stem}_img.head"
        for number, (key, stem) in enumerate(wanted.items(), start=1)
    }


def chip_offsets(exposures: Sequence[Exposure], together: Together) -> list[Offsets]:
    """Return the offsets of all chips, in the order of the answers."""
    return [
        offsets_of(chip, answer, together.stars.at_epoch(chip.request.epoch))
        for (_, chip), answer in zip(_chips(exposures), together.answers, strict=True)
    ]


def quality_cards(answer: ChipAnswer, offsets: Offsets, degree: int, now: datetime) -> list[fits.Card]:
    """Return what a chip's header says of its WCS; the keywords are those of the CSST pipeline."""
    solved = answer.solution is not None
    cards = [
        card("WCS_S", 0 if solved else 1, "WCS: 0 verified, 1 refused"),
        card("WCS_V", "SCAMP", "program that fitted the WCS"),
        card("WCS_P", f"degree {degree}; {SOFTWARE}"[:60], "what it was told, who verified it"),
        card("WCS_TOL", now.astimezone(UTC).isoformat(timespec="seconds"), "UTC of the solution"),
        card("CCDNSTAR", len(answer.used), "stars that went into the solution"),
        card("NMATCH", len(offsets), "stars with a catalogue star near"),
    ]
    if not solved or not len(offsets):
        return cards
    distorted = answer.head is not None and any(key.startswith("PV1_") for key in answer.head)
    return [
        *cards,
        card("PCSCAMP", distorted, "SCAMP gave distortion terms"),
        card("RAOFF", round(float(np.median(offsets.d_ra)), 3), "[mas] median offset, cos(Dec) in it"),
        card("DECOFF", round(float(np.median(offsets.d_dec)), 3), "[mas] median offset"),
        card("RARMS", round(float(np.sqrt(np.mean(offsets.d_ra**2))), 3), "[mas] rms offset"),
        card("DECRMS", round(float(np.sqrt(np.mean(offsets.d_dec**2))), 3), "[mas] rms offset"),
    ]


def _list_in_mark(partial: Path) -> None:
    """Add to the mark what stands beside it: that, and nothing else, is what a later solution takes away."""
    names = sorted(made.name for made in partial.iterdir() if made.name != _MARK)
    with (partial / _MARK).open("a", encoding="utf-8", errors="surrogateescape") as mark:
        mark.writelines(["\n", *(f"{_WRITTEN}{name}\n" for name in names)])


def _is_ours(folder: Path) -> Callable[[str], bool]:
    """Return what tells by its name whether a file of the folder is of an earlier solution."""
    mark = folder / _MARK
    text = mark.read_text(encoding="utf-8", errors="surrogateescape") if mark.is_file() else ""
    listed = {line.removeprefix(_WRITTEN) for line in text.split("\n") if line.startswith(_WRITTEN)}
    return listed.__contains__ if listed else lambda name: bool(_OURS.fullmatch(name))


def _swap(partial: Path, folder: Path) -> list[Path]:
    """Put a whole new set in the place of the old one: an early end leaves files of one of them only.

    The files move, not the folder: it may be a mount point, or hold files of somebody's own.
    """
    is_ours = _is_ours(folder)
    for old in folder.iterdir():
        if old.name != _MARK and is_ours(old.name):
            old.unlink()
    # first: what is left by an early end is still known as ours
    names = sorted((made.name for made in partial.iterdir()), key=lambda name: (name != _MARK, name))
    for name in names:
        (partial / name).replace(folder / name)
    return [folder / name for name in sorted(names)]


def _chip_header(answer: ChipAnswer, offsets: Offsets, degree: int, now: datetime) -> fits.Header:
    """Return the cards of a chip's WCS, where it stands, and of its quality in any case."""
    header = _new_wcs(answer)
    header.extend(quality_cards(answer, offsets, degree, now))
    return header


def _new_wcs(answer: ChipAnswer) -> fits.Header:
    """Return the cards of a chip's WCS; none where it was refused."""
    if answer.solution is None or answer.head is None:
        return fits.Header()
    return wcs_cards(answer.head)


def _write_stars(folder: Path, exposures: Sequence[Exposure], together: Together) -> None:
    """Write all stars with their places: as catalogues, and as a list of coordinates."""
    answers = iter(together.answers)
    lines: list[str] = []
    for exposure in exposures:
        chips = []
        for chip in exposure.chips:
            answer = next(answers)
            ra, dec = _sky(chip, answer)
            header = _image(exposure, chip, answer)
            chips.append(LdacChip(header=header, stars=chip.detections(), sky=(ra, dec)))
            known = np.isfinite(ra)
            lines += [f"{a:.10f} {d:.10f}\n" for a, d in zip(ra[known], dec[known], strict=True)]
        write_ldac(folder / f"{exposure.name}.change.fits", chips)
    (folder / COORDINATES).write_text("".join(lines), encoding="ascii")


def _sky(chip: ChipFrame, answer: ChipAnswer) -> tuple[Array, Array]:
    """Return the places of a chip's stars by its new WCS; NaN where it has none."""
    if answer.solution is None:
        nowhere = np.full(len(chip.request.x), np.nan)
        return nowhere, nowhere
    ra, dec = answer.solution.wcs.all_pix2world(chip.request.x, chip.request.y, 0)
    return np.asarray(ra, float), np.asarray(dec, float)


def _image(exposure: Exposure, chip: ChipFrame, answer: ChipAnswer) -> fits.Header:
    """Return the header of a chip's image in its catalogue, with its new WCS where it has one."""
    return chip_header(
        chip.request.shape,
        _new_wcs(answer),
        name=chip.name,
        exptime=exposure.exptime,
        filter_name=exposure.filter,
        mjd=exposure.mjd,
    )


def _chips(exposures: Sequence[Exposure]) -> Iterator[tuple[Exposure, ChipFrame]]:
    for exposure in exposures:
        for chip in exposure.chips:
            yield exposure, chip


def _plain(name: str) -> str:
    return _UNSAFE.sub("_", name)[:_LONGEST].strip("_")
