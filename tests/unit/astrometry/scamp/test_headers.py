"""`.head` files as SCAMP 2.10 writes them, with their traps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nightflow.astrometry.plate import plate_from_wcs
from nightflow.astrometry.scamp.headers import read_head, tpv_header, wcs_of_head, write_ahead
from nightflow.errors import NoSolution
from tests.unit.astrometry.synthetic import SHAPE, make_wcs, worst_error

LINEAR = """\
HISTORY   Astrometric solution by SCAMP version 2.10.0 (2020-12-01)
COMMENT   (c) 2010-2018 Sorbonne Université/Université de Bordeaux/CNRS
COMMENT   
EQUINOX =        2000.00000000 / Mean equinox
RADESYS = 'ICRS    '           / Astrometric system
CTYPE1  = 'RA---TPV'           / WCS projection type for this axis
CTYPE2  = 'DEC--TPV'           / WCS projection type for this axis
CUNIT1  = 'deg     '           / Axis unit
CUNIT2  = 'deg     '           / Axis unit
CRVAL1  =   1.499999700852E+02 / World coordinate on this axis
CRVAL2  =   2.999986640155E+01 / World coordinate on this axis
CRPIX1  =   3.222574060763E+03 / Reference pixel on this axis
CRPIX2  =   1.594677211776E+03 / Reference pixel on this axis
CD1_1   =  -8.090061133476E-05 / Linear projection matrix
CD1_2   =   1.719247319460E-05 / Linear projection matrix
CD2_1   =   1.718885642245E-05 / Linear projection matrix
CD2_2   =   8.090305830149E-05 / Linear projection matrix
FGROUPNO=                    1 / SCAMP field group label: not the END of it
PHOTLINK=                    F / True if linked to a photometric field
END     
"""  # noqa: W291 - as SCAMP writes it
DISTORTED = LINEAR.replace(
    "FGROUPNO",
    "PV1_0   =   1.0E-05 / Projection distortion parameter\nPV1_1   =   1.0 /\n"
    "PV2_1   =   1.0 / Projection distortion parameter\nPV1_4   =   2.0E-03 /\n"
    "FGROUPNO",
)


def written(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "combined.head"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_comments_of_another_alphabet_do_no_harm(tmp_path: Path, encoding: str) -> None:
    first, second = read_head(written(tmp_path, LINEAR + DISTORTED, encoding))
    assert "COMMENT" not in first
    assert first["CRPIX1"] == 3222.574060763
    assert second["PV1_4"] == 2.0e-3


def test_projection_is_what_the_cards_are(tmp_path: Path) -> None:
    """SCAMP says TPV of a linear solution, too; older versions say TAN of one with PV."""
    linear, distorted = read_head(written(tmp_path, LINEAR + DISTORTED.replace("TPV'", "TAN'")))
    assert (linear["CTYPE1"], linear["CTYPE2"]) == ("RA---TAN", "DEC--TAN")
    assert (distorted["CTYPE1"], distorted["CTYPE2"]) == ("RA---TPV", "DEC--TPV")
    ra, dec = wcs_of_head(linear).all_pix2world(3222.574060763, 1594.677211776, 1)
    assert (float(ra), float(dec)) == pytest.approx((149.9999700852, 29.99986640155), abs=1e-10)


def test_a_word_that_ends_is_no_end(tmp_path: Path) -> None:
    assert len(read_head(written(tmp_path, LINEAR + LINEAR))) == 2


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("CRVAL1  =   1.499999700852E+02", "CRVAL1  =                  nan", "line 10"),
        ("CRVAL1  =   1.499999700852E+02", "CRVAL1  = '150'               ", "chip 1: CRVAL1 = '150'"),
        ("CD1_1   =", "XD1_1   =", "chip 1: no card CD1_1"),
        ("END     \n", "", "cut off: no END after 0 chips"),
        ("CD1_1   =  -8.090061133476E-05", "CD1_1   =               0.0E+00", None),
    ],
)
def test_what_is_no_header_is_refused(tmp_path: Path, old: str, new: str, said: str | None) -> None:
    assert old in LINEAR
    path = written(tmp_path, LINEAR.replace(old, new))
    if said is None:
        assert len(read_head(path)) == 1
    else:
        with pytest.raises(NoSolution, match=said):
            read_head(path)


def test_singular_matrix_is_refused(tmp_path: Path) -> None:
    text = LINEAR
    for key in ("CD1_1", "CD1_2", "CD2_1", "CD2_2"):
        start = text.index(key)
        text = text[:start] + f"{key}   =                  0.0 /".ljust(31) + text[start + 31 :]
    (header,) = read_head(written(tmp_path, text))
    with pytest.raises(NoSolution, match="cannot be evaluated"):
        wcs_of_head(header)


@pytest.mark.parametrize("distortion", [0.0, 12.0])
@pytest.mark.parametrize("parity", [1, -1])
def test_sip_as_tpv_is_the_same_sky(tmp_path: Path, distortion: float, parity: int) -> None:
    true = make_wcs(300.0, -75.0, rotation=140.0, parity=parity, distortion=distortion)
    header = tpv_header(plate_from_wcs(true, SHAPE), SHAPE)
    assert header["CTYPE1"] == ("RA---TPV" if distortion else "RA---TAN")
    write_ahead(tmp_path / "start.ahead", [header])
    assert (tmp_path / "start.ahead").read_text().splitlines()[-1] == "END"
    (again,) = read_head(tmp_path / "start.ahead")
    assert worst_error(wcs_of_head(again), true) < 1e-4
    assert np.isfinite(wcs_of_head(again).all_world2pix(300.0, -75.0, 1)).all()
