from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightflow.instruments.header import FrameKind
from nightflow.instruments.master_settings import MatchKey
from nightflow.instruments.profile import MasterSettings
from nightflow.masters.choose import Candidate, choose, missing_calibration
from nightflow.masters.keys import MasterKey, key_of, mismatches
from tests.unit.detector.frames import make_header

BIAS, DARK, FLAT, LIGHT = FrameKind.BIAS, FrameKind.DARK, FrameKind.FLAT, FrameKind.LIGHT
SETTINGS = MasterSettings()


def wanted(**changes: Any) -> MasterKey:
    return MasterKey(
        **{
            "kind": LIGHT, "instrument": "lowell42", "shape": (10, 12), "filter": "VR", "exptime": 60.0,
            "ccd_temp": -20.0, "mjd_mid": 60000.5, **changes,
        }
    )  # fmt: skip


def candidate(kind: FrameKind, fingerprint: str = "a", **changes: Any) -> Candidate:
    key = {name: getattr(wanted(), name) for name in MasterKey.__dataclass_fields__}
    return Candidate(**{**key, "kind": kind, "fingerprint": fingerprint, **changes})


def test_the_nearest_in_time_is_chosen() -> None:
    offers = [
        candidate(BIAS, name, mjd_mid=mjd) for name, mjd in (("a", 60000.0), ("b", 60000.6), ("c", 60001))
    ]
    assert choose(BIAS, wanted(), offers, SETTINGS).candidate == offers[1]


def test_other_kinds_are_passed_over_without_a_word() -> None:
    choice = choose(BIAS, wanted(), [candidate(FLAT), candidate(DARK)], SETTINGS)
    assert choice.candidate is None
    assert choice.ruled_out == ()


@pytest.mark.parametrize(
    ("kind", "change", "key", "detail"),
    [
        (FLAT, {"filter": "V"}, "filter", "filter V, not VR"),
        (DARK, {"exptime": 30.0}, "exptime", "exptime 30 s, not 60 s"),
        (DARK, {"ccd_temp": -10.0}, "ccd_temp", "ccd_temp -10.0 C, not within 1 of -20.0"),
        (BIAS, {"binning": (2, 2)}, "binning", "binning 2x2, not 1x1"),
        (BIAS, {"shape": (5, 6)}, "shape", "shape 5x6, not 10x12"),
        (BIAS, {"gain_setting": "high"}, "gain_setting", "gain_setting high, not unknown"),
        (BIAS, {"readout_mode": "fast"}, "readout_mode", "readout_mode fast, not unknown"),
        (BIAS, {"detector": "2"}, "detector", "detector 2, not 1"),
        (BIAS, {"instrument": "mit"}, "instrument", "instrument mit, not lowell42"),
        (BIAS, {"state": "rejected"}, "state", "state rejected"),
        (BIAS, {"valid_until": 60000.0}, "validity", "valid from MJD -inf to 60000.00"),
        (BIAS, {"valid_from": 60001.0}, "validity", "valid from MJD 60001.00 to inf"),
    ],
)
def test_each_key_rules_out_and_says_so(
    kind: FrameKind, change: dict[str, Any], key: str, detail: str
) -> None:
    choice = choose(kind, wanted(), [candidate(kind, **change)], SETTINGS)
    assert choice.candidate is None
    assert [(out.key, out.detail) for out in choice.ruled_out] == [(key, detail)]


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (BIAS, {"ccd_temp": 5.0, "exptime": 0.0, "filter": "B"}),
        (FLAT, {"ccd_temp": 5.0, "exptime": 3.0}),
        (DARK, {"filter": "B", "exptime": 60.9, "ccd_temp": -20.9}),
        (DARK, {"ccd_temp": None}),
        (BIAS, {"state": "provisional"}),
    ],
)
def test_keys_that_do_not_count_do_not_rule_out(kind: FrameKind, change: dict[str, Any]) -> None:
    assert choose(kind, wanted(), [candidate(kind, **change)], SETTINGS).candidate is not None


def test_what_could_not_be_compared_is_said() -> None:
    key = wanted(mjd_mid=None, ccd_temp=None)
    assert choose(DARK, key, [candidate(DARK)], SETTINGS).warnings == (
        "dark: time of the frame unknown; validity not checked",
        "dark: temperature unknown; not compared",
    )


def test_a_dark_that_need_not_be_scaled_is_preferred_to_a_nearer_one() -> None:
    offers = [candidate(DARK, "a", exptime=300.0), candidate(DARK, "b", mjd_mid=60003.0)]
    assert choose(DARK, wanted(), offers, SETTINGS, any_exposure=True).candidate == offers[1]
    assert choose(DARK, wanted(), offers[:1], SETTINGS, any_exposure=True).candidate == offers[0]


def test_the_message_of_a_miss() -> None:
    offers = [
        candidate(FLAT, "a", filter="V", mjd_mid=60000.2),
        candidate(FLAT, "b", filter="R", mjd_mid=60005.5),
        candidate(FLAT, "c", filter="VR", instrument="mit", binning=(2, 2), mjd_mid=60000.5),
        candidate(FLAT, "d", filter="B", mjd_mid=60009.5),
    ]
    choice = choose(FLAT, wanted(), offers, SETTINGS)
    assert str(missing_calibration(FLAT, wanted(), choice.ruled_out)) == (
        "no flat in VR for lowell42 1x1: nearest candidates: flat V 0.3 d away (filter V, not VR); "
        "flat R 5.0 d away (filter R, not VR); flat B 9.0 d away (filter B, not VR)"
    )


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (BIAS, "no bias for lowell42 1x1: no candidate at all"),
        (DARK, "no dark of 60 s for lowell42 1x1: no candidate at all"),
    ],
)
def test_the_message_where_there_is_nothing(kind: FrameKind, message: str) -> None:
    assert str(missing_calibration(kind, wanted(), ())) == message


def test_an_unknown_key_in_the_settings_is_named() -> None:
    with pytest.raises(ValueError, match=r"match\.0\s+Input should be 'instrument', .*input_value='bining'"):
        MasterSettings(match=["bining"])
    assert set(get_args(MatchKey)) == set(MasterKey.__dataclass_fields__) - {"kind", "mjd_mid"}


def test_the_key_of_a_header() -> None:
    key = key_of(make_header(filter="R", binning=(2, 3), ccd_temp=-5.0))
    assert (key.filter, key.binning_text, key.ccd_temp, key.kind) == ("R", "2x3", -5.0, LIGHT)


CANDIDATES = st.lists(
    st.builds(
        candidate,
        st.sampled_from([BIAS, DARK, FLAT]),
        binning=st.sampled_from([(1, 1), (2, 2)]),
        filter=st.sampled_from(["VR", "V"]),
        exptime=st.sampled_from([30.0, 60.0, 60.5]),
        ccd_temp=st.sampled_from([None, -20.0, -19.5, -10.0]),
        mjd_mid=st.floats(59990, 60010),
        state=st.sampled_from(["approved", "provisional", "rejected"]),
        valid_until=st.sampled_from([60000.0, 60100.0]),
    ),
    max_size=12,
).map(lambda offers: [replace(offer, fingerprint=f"{n:02}") for n, offer in enumerate(offers)])


@settings(max_examples=200)
@given(CANDIDATES, st.sampled_from([BIAS, DARK, FLAT]), st.booleans(), st.randoms(use_true_random=False))
def test_properties_of_the_choice(
    offers: list[Candidate], kind: FrameKind, scaled: bool, random: Any
) -> None:
    choice = choose(kind, wanted(), offers, SETTINGS, any_exposure=scaled)
    same_kind = [offer for offer in offers if offer.kind == kind]
    out = [ruled.candidate for ruled in choice.ruled_out]
    fitting = [offer for offer in same_kind if offer not in out]
    assert (choice.candidate is None) == (not fitting)
    for offer in fitting:
        assert offer.binning == (1, 1)
        assert offer.state != "rejected"
        assert offer.valid_until >= 60000.5
        assert kind != FLAT or offer.filter == "VR"
        assert kind != DARK or scaled or offer.exptime > 58
    best = [offer for offer in fitting if offer.state == "approved"] or fitting
    if choice.candidate is not None:
        assert choice.candidate in best
    if choice.candidate is not None and not (kind == DARK and scaled):
        assert abs(choice.candidate.mjd_mid - 60000.5) == min(abs(o.mjd_mid - 60000.5) for o in best)
    random.shuffle(offers)
    assert choose(kind, wanted(), offers, SETTINGS, any_exposure=scaled) == choice


@given(CANDIDATES, st.sampled_from([BIAS, DARK, FLAT]))
def test_scaling_lifts_the_exposure_and_nothing_else(offers: list[Candidate], kind: FrameKind) -> None:
    for offer in offers:
        strict = mismatches(kind, wanted(), offer, SETTINGS)
        loose = mismatches(kind, wanted(), offer, SETTINGS, any_exposure=True)
        assert [m for m in strict if m.key != "exptime"] == loose
