"""Which camera wrote a header, and what is said of a profile that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from astropy.io import fits

from nightflow.errors import ConfigurationError, FrameHeld
from nightflow.instruments.profile import CameraProfile
from nightflow.instruments.registry import load_profiles, recognise

SMALL = """
name = "mine"
extends = "generic"
recognise = { INSTRUME = "QHY600" }
"""


def own(folder: Path, text: str, name: str = "mine.toml") -> Path:
    (folder / name).write_text(text)
    return folder


def by_name(profiles: list[CameraProfile], name: str) -> CameraProfile:
    return next(profile for profile in profiles if profile.name == name)


def test_profiles_that_come_with_nightflow() -> None:
    names = {profile.name for profile in load_profiles()}
    assert names == {
        "finder",
        "generic",
        "lowell42",
        "microobservatory",
        "nickel",
        "panoptes",
        "simulator",
        "wallace_c14",
    }


def test_a_profile_is_at_most_forty_lines() -> None:
    folder = Path(__file__).parents[3] / "src/nightflow/instruments/profiles"
    lengths = {file.name: len(file.read_text().splitlines()) for file in folder.glob("*.toml")}
    assert len(lengths) == 8
    assert {name: length for name, length in lengths.items() if length > 40} == {}


def test_a_folder_that_is_not_there_holds_no_profiles(tmp_path: Path) -> None:
    assert load_profiles(tmp_path / "cameras") == load_profiles()


def test_a_profile_of_ones_own_extends_another(tmp_path: Path) -> None:
    text = SMALL + "[detector]\nsaturation = 60000\n[keywords]\ngain = { keys = ['MYGAIN'] }\n"
    mine = by_name(load_profiles(own(tmp_path, text)), "mine")
    generic = by_name(load_profiles(), "generic")
    assert mine.detector.saturation == 60000
    assert mine.keywords["gain"].keys == ["MYGAIN"]
    assert mine.keywords["gain"].fallback is None
    assert mine.keywords["exptime"] == generic.keywords["exptime"]
    assert mine.kinds == generic.kinds
    assert mine.needs == []
    assert load_profiles(tmp_path)[0] == mine


def test_a_profile_of_ones_own_replaces_one_of_the_same_name(tmp_path: Path) -> None:
    text = 'name = "nickel"\nrecognise = { INSTRUME = "Nickel" }\n'
    profiles = load_profiles(own(tmp_path, text))
    assert [profile.name for profile in profiles].count("nickel") == 1
    assert by_name(profiles, "nickel").keywords == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "mine"\nrecognize = {}', r"unknown key recognize; did you mean recognise\?"),
        (SMALL + "[detector]\ngian = 2", r"unknown key detector\.gian; did you mean gain\?"),
        (SMALL + "[masters]\nmatch = ['instrumen']", r"masters\.match\.0 = 'instrumen': .*'instrument'"),
        (SMALL + "[cosmic_rays]\nsigclip = -3", r"cosmic_rays\.sigclip = -3: .*greater than 0"),
        (SMALL + "[detection]\nthreshold = -1", r"detection\.threshold = -1: .*greater than 0"),
        (SMALL + "[detector]\ngain = -2", r"detector\.gain = -2: .*greater than 0"),
        (
            SMALL + "[keywords]\nexptme = 'EXPTIME'",
            r"exptme.*unknown quantity exptme; did you mean exptime\?",
        ),
        (SMALL + "[keywords]\nra = { keys = ['RA'], unit = 'parsec' }", r"keywords\.ra\.unit = 'parsec'"),
        (
            SMALL + "[keywords]\nra = { keys = ['RA'], unti = 'hour' }",
            r"keywords\.ra\.unti; did you mean unit\?",
        ),
        (SMALL + "[site]\nlatitud = 3", r"unknown key site\.latitud; did you mean latitude\?"),
        (SMALL + "[kinds]\nlights = [{}]", r"lights"),
        (SMALL + "[kinds]\nlight = [{ exptme = '1' }]", r"did you mean exptime\?"),
        (SMALL + "[kinds]\nlight = [{ kind = '(' }]", r"not a regular expression"),
        (SMALL + "[detector]\noverscan = '[1:2]'", r"detector\.overscan = '\[1:2\]': .*not a FITS section"),
        ("name = ", r"not valid TOML"),
        ('name = "mine"', r"neither recognise nor needs is given"),
        ('name = "Mine!"\nrecognise = { A = "." }', r"name = 'Mine!'"),
        ('name = "mine"\nextends = "genric"', r"extends = 'genric': is no profile; known: .*generic"),
        ('name = "mine"\nextends = "mine"\nrecognise = { A = "." }', r"extends itself"),
    ],
)
def test_faults_name_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"mine\.toml: .*{message}"):
        load_profiles(own(tmp_path, text))


def test_two_files_with_one_name(tmp_path: Path) -> None:
    own(tmp_path, SMALL, "a.toml")
    with pytest.raises(
        ConfigurationError, match=r"b\.toml: name = 'mine' is also that of .*a\.toml; rename one"
    ):
        load_profiles(own(tmp_path, SMALL, "b.toml"))


def camera(name: str, **recognise_by: str) -> CameraProfile:
    return CameraProfile(name=name, recognise=recognise_by)


def test_the_most_specific_wins() -> None:
    profiles = [
        camera("one", INSTRUME="STL"),
        camera("two", INSTRUME="stl-1001", TELESCOP="^C14$"),
        camera("no", A="."),
    ]
    header = fits.Header({"INSTRUME": "SBIG STL-1001 3 CCD", "TELESCOP": "C14"})
    assert recognise([header], profiles).name == "two"
    assert recognise([fits.Header({"INSTRUME": "STL-11000"})], profiles).name == "one"


def test_among_equals_the_first_wins() -> None:
    assert recognise([fits.Header({"A": 1})], [camera("mine", A="."), camera("theirs", A="1")]).name == "mine"


def test_keywords_may_stand_in_any_hdu() -> None:
    headers = [fits.Header({"TELESCOP": "C14"}), fits.Header({"INSTRUME": "STL"})]
    assert recognise(headers, [camera("one", INSTRUME="STL", TELESCOP="C14")]).name == "one"


def test_the_generic_camera_takes_a_known_dialect_and_nothing_less() -> None:
    profiles = load_profiles()
    cards = {"IMAGETYP": "LIGHT", "EXPOSURE": 3.0, "DATE-OBS": "2024-01-01T00:00:00"}
    assert recognise([fits.Header(cards)], profiles).name == "generic"
    for keyword in cards:
        lacking = {key: value for key, value in cards.items() if key != keyword}
        with pytest.raises(FrameHeld, match=r"camera generic misses"):
            recognise([fits.Header(lacking)], profiles)


def test_a_header_without_a_camera_is_held_with_what_was_looked_for() -> None:
    header = fits.Header({"INSTRUME": "Mystery Cam " + "x" * 50, "TELESCOP": "13-inch"})
    with pytest.raises(FrameHeld) as error:
        recognise([header], load_profiles())
    message = str(error.value)
    assert "no camera profile fits" in message
    assert "INSTRUME = 'Mystery" in message
    assert "TELESCOP = '13-inch'" in message
    assert "EXPTIME is absent" in message
    assert "IMAGETYP is absent" in message
    assert "write a profile" in message
    assert len(message) < 1700
