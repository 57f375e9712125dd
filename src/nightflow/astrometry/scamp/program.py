"""SCAMP as a program: what it is told, and whether what it left behind is an answer.

Its exit status says little: with a reference catalogue of another part of the sky it ends with 0 and writes
headers that are its input. So the number of matched stars is counted, chip by chip, in its full catalogue.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from nightflow.astrometry.scamp.headers import read_head
from nightflow.errors import NoSolution
from nightflow.external import ProgramError, run_bounded

__all__ = ["FULL", "MERGED", "PROGRAM", "REFERENCE", "XML", "ScampRun", "run_scamp", "scamp_configuration"]

PROGRAM = "scamp"
CONFIGURATION, REFERENCE, XML = "nightflow.scamp", "gaia_ldac.fits", "scamp.xml"
FULL, MERGED = "full.cat", "merged.cat"
"""SCAMP adds the numbers of groups, which are exposures that overlap: full_1.cat."""


@dataclass(frozen=True, kw_only=True)
class ScampRun:
    """What SCAMP answered.

    Attributes
    ----------
    heads : tuple of list of astropy.io.fits.Header
        One list a catalogue, one header a chip, in the order that was given.
    n_matched : tuple of list of int
        Stars of each chip that SCAMP identified with a reference star.
    """

    heads: tuple[list[fits.Header], ...]
    n_matched: tuple[list[int], ...]


def scamp_configuration(*, degree: int, crossid_arcsec: float, stability: str = "exposure") -> dict[str, str]:
    """Return SCAMP's configuration; what is not in it has SCAMP's default.

    Parameters
    ----------
    degree : int
        Of the distortion in pixels.
    crossid_arcsec : float
        How far a detection may lie from its reference star at the start.
    stability : {"exposure", "instrument"}
        Whose the distortion is.
    """
    return {
        "ASTREF_CATALOG": "FILE",
        "ASTREFCAT_NAME": REFERENCE,
        "ASTREFCENT_KEYS": "X_WORLD,Y_WORLD",
        "ASTREFERR_KEYS": "ERRA_WORLD,ERRB_WORLD,ERRTHETA_WORLD",
        "ASTREFMAG_KEY": "MAG",
        "ASTREFMAGERR_KEY": "MAGERR",
        "ASTREFOBSDATE_KEY": "OBSDATE",
        # its search by patterns takes half a minute for 18 chips; where they lie is known before
        "MATCH": "N",
        "MOSAIC_TYPE": "UNCHANGED",
        "CROSSID_RADIUS": f"{crossid_arcsec:.3f}",
        "PROJECTION_TYPE": "TPV",
        "ASTRINSTRU_KEY": "FILTER,QRUNID",
        "STABILITY_TYPE": stability.upper(),
        "CENTROID_KEYS": "XWIN_IMAGE,YWIN_IMAGE",
        "CENTROIDERR_KEYS": "ERRAWIN_IMAGE,ERRBWIN_IMAGE,ERRTHETAWIN_IMAGE",
        "DISTORT_KEYS": "XWIN_IMAGE,YWIN_IMAGE",
        "DISTORT_GROUPS": "1,1",
        "DISTORT_DEGREES": str(degree),
        "FOCDISTORT_DEGREE": "1",
        # as in nightflow.astrometry.refine: no star is trusted better than this
        "ASTRACCURACY_TYPE": "SIGMA-PIXEL",
        "ASTR_ACCURACY": "0.03",
        "ASTRCLIP_NSIGMA": "3.0",
        "ASTR_FLAGSMASK": "0x00fc",
        # the stars were chosen before they were written
        "SN_THRESHOLDS": "1.0,50.0",
        "FWHM_THRESHOLDS": "0.0,1000.0",
        "ELLIPTICITY_MAX": "1.0",
        "FLAGS_MASK": "0x00f0",
        "SOLVE_PHOTOM": "N",
        "MERGEDOUTCAT_TYPE": "FITS_LDAC",
        "MERGEDOUTCAT_NAME": MERGED,
        "FULLOUTCAT_TYPE": "FITS_LDAC",
        "FULLOUTCAT_NAME": FULL,
        "AHEADER_SUFFIX": ".ahead",
        "HEADER_SUFFIX": ".head",
        "CHECKPLOT_DEV": "NULL",
        "CHECKPLOT_TYPE": "NONE",
        "WRITE_XML": "Y",
        "XML_NAME": XML,
        "VERBOSE_TYPE": "NORMAL",
        # a second thread gains nothing, and other frames are reduced beside this one
        "NTHREADS": "1",
    }


def run_scamp(
    folder: Path,
    catalogs: Sequence[str],
    chips: Sequence[int],
    configuration: Mapping[str, str],
    *,
    seconds: float,
    program: str = PROGRAM,
) -> ScampRun:
    """Solve the catalogues of a folder in one call.

    Parameters
    ----------
    folder : Path
        Holds the catalogues, `REFERENCE` and the `.ahead` files; everything that SCAMP writes stays there.
    catalogs : sequence of str
        Names of the catalogues in it.
    chips : sequence of int
        How many chips each has.
    configuration : mapping
        See `scamp_configuration`.
    seconds : float
        Wall time after which SCAMP is killed, with whatever it started.

    Raises
    ------
    NoSolution
        SCAMP is missing, hung, was killed, failed, or left a header or a catalogue unwritten or unreadable.
    OSError
        The folder cannot be written to.
    """
    lines = [f"{key:<20} {value}" for key, value in configuration.items()]
    (folder / CONFIGURATION).write_text("\n".join([*lines, ""]), encoding="ascii")
    # what an earlier run left must not pass for an answer
    for stale in [*folder.glob("*.head"), *_groups(folder, FULL), *_groups(folder, MERGED)]:
        stale.unlink()
    try:
        ended = run_bounded([program, *catalogs, "-c", CONFIGURATION], seconds=seconds, folder=folder)
    except ProgramError as error:
        raise NoSolution(str(error)) from error
    if ended.status != 0:
        raise NoSolution(f"{program} failed with status {ended.status}: {ended.last_words}")
    heads = tuple(_heads(folder / name, count) for name, count in zip(catalogs, chips, strict=True))
    counted = [_matched(full, chips) for full in _groups(folder, FULL)]
    if not counted:
        raise NoSolution(f"{program} wrote no catalogue {FULL}")
    n_matched = tuple(np.sum(of_exposure, axis=0).tolist() for of_exposure in zip(*counted, strict=True))
    return ScampRun(heads=heads, n_matched=n_matched)


def _groups(folder: Path, name: str) -> list[Path]:
    stem, ending = name.rsplit(".", 1)
    return sorted(folder.glob(f"{stem}_*.{ending}"))


def _heads(catalog: Path, n_chips: int) -> list[fits.Header]:
    head = catalog.with_suffix(".head")
    if not head.is_file():
        raise NoSolution(f"SCAMP wrote no {head.name}")
    found = read_head(head)
    if len(found) != n_chips:
        raise NoSolution(f"{head.name}: {len(found)} headers for {n_chips} chips")
    return found


def _matched(full: Path, chips: Sequence[int]) -> tuple[list[int], ...]:
    """Count, chip by chip, the detections that share a source with a reference star."""
    try:
        with warnings.catch_warnings():
            # SCAMP writes display formats that FITS does not know
            warnings.simplefilter("ignore", fits.verify.VerifyWarning)
            with fits.open(full, memmap=False) as hdus:
                rows = hdus["LDAC_OBJECTS"].data
                source, catalog, chip = (
                    np.asarray(rows[name]) for name in ("SOURCE_NUMBER", "CATALOG_NUMBER", "EXTENSION")
                )
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise NoSolution(f"SCAMP left no readable catalogue {full.name}: {error}") from error
    known = np.isin(source, source[catalog == 0])
    return tuple(
        [int(np.sum(known & (catalog == number) & (chip == one))) for one in range(1, count + 1)]
        for number, count in enumerate(chips, start=1)
    )
