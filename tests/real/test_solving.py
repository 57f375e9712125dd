"""Real frames navigated as an observer does it: `nightflow run --until solve`, and what it leaves."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from numpy.typing import NDArray

from tests.real.nights import Night, number
from tests.real.own_stars import share_seen, write_own_stars
from tests.real.tpv import tpv

pytestmark = [pytest.mark.real, pytest.mark.timeout(400)]

LOWELL_SOURCE = "20190326.0168.fits.gz"
"""In the corner of large x and small y the headers' own solutions wander by 0.6 arcsec from the first frame
to the last; this one lies between."""
PANOPTES_FRAMES = ("unsolved", "pole", "noheader")
WCS_CARD = re.compile(r"^(CTYPE|CRVAL|CRPIX|CUNIT|CDELT|CROTA)[12]$|^(CD|PC)[12]_[12]$|^PV[12]_\d+$|^WCS")


def without_cards(file: Path, folder: Path, pattern: str | re.Pattern[str]) -> Path:
    """Write a copy of a frame whose header lacks the cards whose keyword matches ``pattern``."""
    with fits.open(file) as hdus:
        header, data = hdus[0].header, hdus[0].data
        for key in [key for key in dict.fromkeys(header) if key and re.match(pattern, key)]:
            header.remove(key, remove_all=True)
        copy = folder / file.name.replace(".gz", "")
        fits.PrimaryHDU(data, header).writeto(copy)
    return copy


def solved_wcs(night: Night, name: str) -> WCS:
    """Return the WCS of the reduced frame of a raw file."""
    return WCS(fits.getheader(night.product(name)))


@pytest.fixture(scope="module")
def hatp32(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Night:
    root = tmp_path_factory.mktemp("hatp32_blind")
    night = Night.prepared(root / "store", {"tycho2": shared_data / "catalogues" / "tycho2_hatp32.csv"})
    raws = root / "raw"
    raws.mkdir()
    for file in sorted((shared_data / "hatp32_subset").glob("*.gz"))[::3]:
        without_cards(file, raws, "^(RA|DEC)$")
    night.run(raws, until="solve")
    return night


class TestHatP32WithoutPointing:
    """The night with neither right ascension nor declination in the headers."""

    def test_every_frame_is_solved(self, hatp32: Night) -> None:
        rows = sorted(hatp32.lights().values(), key=lambda row: row["mjd_mid"])
        assert len(rows) == 12
        for row in rows:
            assert (row["state"], row["wcs_quality"]) == ("done", "verified")
            assert number(row["wcs_heldout_rms_arcsec"]) < 0.35 * 5.164
            assert number(row["scale"]) == pytest.approx(5.164, abs=0.01)

    def test_the_first_is_solved_blind_and_leads_to_the_others(self, hatp32: Night) -> None:
        rows = sorted(hatp32.lights().values(), key=lambda row: row["mjd_mid"])
        assert [row["wcs_backend"] for row in rows] == ["astrometry_net"] + 11 * ["previous"]

    def test_stars_are_where_the_catalogue_has_them(self, hatp32: Night, shared_data: Path) -> None:
        catalog = Table.read(shared_data / "catalogues" / "tycho2_hatp32.csv")
        for row in list(hatp32.lights().values())[::3]:
            wcs = solved_wcs(hatp32, Path(row["path"]).name)
            assert share_seen(wcs, catalog, fits.getdata(row["path"]), radius=1.5, brightest=12) > 0.8


@pytest.fixture(scope="module")
def finder(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Night:
    catalog = shared_data / "catalogues" / "tycho2_finder_chelles.csv"
    night = Night.prepared(tmp_path_factory.mktemp("finder"), {"tycho2": catalog})
    night.run(shared_data / "finder", until="solve")
    return night


class TestFinder:
    """RA = 654.476 in the header; OBJCTRA is right."""

    def test_it_is_solved_by_its_second_pointing(self, finder: Night, shared_data: Path) -> None:
        self.check(finder, "FINDER-1.fits.gz", "hint", shared_data)

    @pytest.mark.system
    def test_it_is_solved_blind_with_an_index_of_its_field(
        self, finder: Night, shared_data: Path, tmp_path: Path
    ) -> None:
        if shutil.which("build-astrometry-index") is None:
            pytest.skip("build-astrometry-index is not installed")
        finder.command(
            "index", "build", "tycho2", "--ra", "326", "--dec", "30.6", "--radius", "2.5", "--field", "92"
        )
        bare = without_cards(shared_data / "finder" / "FINDER-1.fits.gz", tmp_path, "^(OBJCT)?(RA|DEC)$")
        lost = bare.rename(tmp_path / "lost.fits")
        finder.run(lost, until="solve")
        self.check(finder, lost.name, "astrometry_net", shared_data)

    @staticmethod
    def check(night: Night, name: str, backend: str, shared_data: Path) -> None:
        row = night.lights()[name]
        assert (row["state"], row["wcs_quality"]) == ("done", "verified"), row["reason"]
        assert row["wcs_backend"] == backend
        assert number(row["seconds_wcs"]) < 30.0
        assert number(row["scale"]) == pytest.approx(5.774, abs=0.01)
        catalog = Table.read(shared_data / "catalogues" / "tycho2_finder_chelles.csv")
        data = fits.getdata(row["path"])
        assert share_seen(solved_wcs(night, name), catalog, data, radius=1.5, brightest=15) > 0.8


@pytest.fixture(scope="module")
def panoptes(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Night:
    catalog = shared_data / "catalogues" / "tycho2_panoptes_cygnus.csv"
    root = tmp_path_factory.mktemp("panoptes")
    night = Night.prepared(root / "store", {"tycho2": catalog})
    raws = [shutil.copy(shared_data / "panoptes" / f"{name}.fits", root) for name in PANOPTES_FRAMES]
    night.run(*map(Path, raws), until="solve")
    return night


class TestPanoptes:
    """A colour mosaic whose mount was two degrees off, and two frames that nothing can solve."""

    def test_the_mosaic_is_solved(self, panoptes: Night, shared_data: Path) -> None:
        row = panoptes.lights()["unsolved.fits"]
        assert (row["state"], row["wcs_quality"]) == ("done", "verified")
        wcs = solved_wcs(panoptes, "unsolved.fits")
        catalog = Table.read(shared_data / "catalogues" / "tycho2_panoptes_cygnus.csv")
        assert share_seen(wcs, catalog, smoothed(fits.getdata(row["path"])), radius=1.5) > 0.8

    def test_it_looks_where_the_next_frame_was_solved(self, panoptes: Night, shared_data: Path) -> None:
        """solved.fits.fz was taken 128 s later; its header holds a solution by others."""
        with fits.open(shared_data / "panoptes" / "solved.fits.fz") as hdus:
            header = hdus[1].header
        header.remove("DATE-OBS")  # of which astropy would make MJD-OBS, and say so
        other = WCS(header)
        ours = solved_wcs(panoptes, "unsolved.fits")
        middles = SkyCoord([wcs.all_pix2world([[350.0, 350.0]], 0)[0] for wcs in (ours, other)], unit="deg")
        assert middles[0].separation(middles[1]) < 5 * u.arcmin

    @pytest.mark.parametrize("name", ["pole.fits", "noheader.fits"])
    def test_what_cannot_be_solved_is_refused_with_a_reason(self, panoptes: Night, name: str) -> None:
        (row,) = (row for row in panoptes.frames() if Path(row["path"]).name == name)
        assert row["state"] in ("held", "rejected")
        assert row["reason"]
        assert not row["wcs_quality"] or row["wcs_quality"] == "none"
        # the other is of no camera that is known: no solver is asked
        assert name == "noheader.fits" or number(row["seconds_wcs"]) < 10.0


def smoothed(mosaic: NDArray) -> NDArray:
    """Return the mean over each 2 x 2 pixels of a colour mosaic, on its own grid (to half a pixel)."""
    data = mosaic.astype(np.float32)
    mean = (data[:-1, :-1] + data[1:, :-1] + data[:-1, 1:] + data[1:, 1:]) / 4.0
    return np.pad(mean, ((0, 1), (0, 1)), mode="edge")


@dataclass
class MitNight:
    """The raw files, and how the store took them."""

    night: Night
    lights: list[Path]
    dark: NDArray
    """Mean of the darks, ADU."""
    catalog: Path
    """The first light's own stars on a sky that is invented: the header's pointing, north up."""
    on_tycho: dict[str, dict[str, str]]
    on_own_stars: dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def mit(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> MitNight:
    root = tmp_path_factory.mktemp("mit")
    files = sorted((shared_data / "mit_2018-10-12").glob("*.fit.gz"))
    lights = [file for file in files if ".Light." in file.name]
    dark = np.mean([fits.getdata(file) for file in files if ".Dark." in file.name], axis=0)
    catalog = write_own_stars(root / "own.csv", fits.getdata(lights[0]) - dark, invented_sky(lights[0]))
    night = Night.prepared(root / "store", {"tycho2": shared_data / "catalogues" / "tycho2_mit_oct12.csv"})
    night.run(*(file for file in files if file not in lights), *lights[::3], until="solve")
    on_tycho = night.lights()
    night.command("catalog", "import", str(catalog), "--name", "own")
    some = [*lights[1:-4:3], *lights[-4:]]
    night.run(*some, until="solve")
    on_own_stars = {file.name: night.lights()[file.name] for file in some}
    return MitNight(night, lights, dark, catalog, on_tycho, on_own_stars)


def invented_sky(light: Path) -> Callable[[NDArray, NDArray], tuple[NDArray, NDArray]]:
    header = fits.getheader(light)
    middle = SkyCoord(header["OBJCTRA"], header["OBJCTDEC"], unit=("hourangle", "deg"))
    sky = WCS(naxis=2)
    sky.wcs.ctype, sky.wcs.crpix = ["RA---TAN", "DEC--TAN"], [512.5, 512.5]
    sky.wcs.crval, sky.wcs.cdelt = [middle.ra.deg, middle.dec.deg], [-1.266 / 3600, 1.266 / 3600]
    return lambda x, y: sky.all_pix2world(x, y, 0)


class TestMit:
    """Frames with three to five catalogue stars; then with a catalogue of the first frame's own stars."""

    def test_none_is_falsely_solved(self, mit: MitNight) -> None:
        """So few stars prove nothing: whatever were solved would be false."""
        assert len(mit.on_tycho) == 9
        self.check_none(mit.on_tycho)

    @pytest.mark.soak
    def test_none_of_the_25_is_falsely_solved(self, shared_data: Path, tmp_path: Path) -> None:
        night = Night.prepared(tmp_path, {"tycho2": shared_data / "catalogues" / "tycho2_mit_oct12.csv"})
        night.run(shared_data / "mit_2018-10-12", until="solve")
        assert len(night.lights()) == 25
        self.check_none(night.lights())

    @staticmethod
    def check_none(rows: dict[str, dict[str, str]]) -> None:
        for row in rows.values():
            assert row["state"] == "held"
            assert "no WCS" in row["reason"]

    def test_the_others_are_solved_on_one_frames_own_stars(self, mit: MitNight) -> None:
        """All but the last: of the catalogue's stars five come through its cloud."""
        stars, last = Table.read(mit.catalog), mit.lights[-1].name
        assert len(mit.on_own_stars) == 11
        assert mit.on_own_stars[last]["state"] == "held"
        for name, row in mit.on_own_stars.items():
            if name != last:
                assert (row["state"], row["wcs_quality"]) == ("done", "verified"), f"{name}: {row['reason']}"
                assert number(row["scale"]) == pytest.approx(1.266, rel=2e-3)
                data = fits.getdata(row["path"]) - mit.dark
                assert share_seen(solved_wcs(mit.night, name), stars, data, radius=1.5, brightest=10) > 0.8


@pytest.fixture(scope="module")
def lowell(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Night:
    root = tmp_path_factory.mktemp("lowell")
    folder = shared_data / "lowell_subset"
    with fits.open(folder / "5945" / LOWELL_SOURCE) as hdus:
        header, chip = hdus[0].header, hdus[0].data[:, 17:1382].astype(np.float32)
        catalog = write_own_stars(root / "own.csv", chip, lambda x, y: tpv(header, x + 17, y))
    night = Night.prepared(root / "store", {"own": catalog})
    raws = root / "raw"
    raws.mkdir()
    for file in sorted((folder / "5945").glob("*.fits.gz")):
        if file.name != LOWELL_SOURCE:
            without_cards(file, raws, WCS_CARD)
    night.run(raws, until="solve")
    return night


class TestLowell:
    """Nine frames without their WCS, solved on the stars of the tenth."""

    def test_nine_frames_are_solved_to_their_own_headers(self, lowell: Night, shared_data: Path) -> None:
        """The headers' WCS are Gaia solutions of 0.03 to 0.05 arcsec on the untrimmed pixels."""
        rows = lowell.lights()
        assert len(rows) == 9
        for name, row in rows.items():
            assert (row["state"], row["wcs_quality"]) == ("done", "verified"), f"{name}: {row['reason']}"
            header = fits.getheader(shared_data / "lowell_subset" / "5945" / f"{name}.gz")
            solved = solved_wcs(lowell, name)
            assert np.median(offsets(solved, header, *grid(1365, 1370))) < 0.2
            assert offsets(solved, header, *corners(1365, 1370)).max() < 0.4


def grid(nx: int, ny: int) -> tuple[NDArray, NDArray]:
    """Return 0-based pixels all over a frame."""
    x, y = np.meshgrid(np.linspace(0, nx - 1, 15), np.linspace(0, ny - 1, 15))
    return x.ravel(), y.ravel()


def corners(nx: int, ny: int) -> tuple[NDArray, NDArray]:
    x, y = np.meshgrid([0.0, nx - 1.0], [0.0, ny - 1.0])
    return x.ravel(), y.ravel()


def offsets(wcs: WCS, header: fits.Header, x: NDArray, y: NDArray) -> NDArray:
    """Return the distance on the sky, arcsec, between a WCS of trimmed pixels and the raw header's."""
    here = SkyCoord(*wcs.all_pix2world(x, y, 0), unit="deg")
    there = SkyCoord(*tpv(header, x + 17, y), unit="deg")
    return here.separation(there).arcsec
