from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightflow.products.designation import designation


@pytest.mark.parametrize(
    ("name", "packed", "element", "value"),
    [
        # Examples of minorplanetcenter.net/iau/info/PackedDes.html
        ("3202", "03202       ", "permID", "3202"),
        ("(50000)", "50000       ", "permID", "50000"),
        ("100345", "A0345       ", "permID", "100345"),
        ("360017", "a0017       ", "permID", "360017"),
        ("(203289) Somebody", "K3289       ", "permID", "203289"),
        ("619999", "z9999       ", "permID", "619999"),
        ("620000", "~0000       ", "permID", "620000"),
        ("620061", "~000z       ", "permID", "620061"),
        ("3140113", "~AZaz       ", "permID", "3140113"),
        ("15396335", "~zzzz       ", "permID", "15396335"),
        ("1995 XA", "     J95X00A", "provID", "1995 XA"),
        ("1995 XL1", "     J95X01L", "provID", "1995 XL1"),
        ("1998SS162", "     J98SG2S", "provID", "1998 SS162"),
        ("2099 AZ193", "     K99AJ3Z", "provID", "2099 AZ193"),
        ("2007 TA418", "     K07Tf8A", "provID", "2007 TA418"),
        ("2040 P-L", "     PLS2040", "provID", "2040 P-L"),
        ("3138 T-1", "     T1S3138", "provID", "3138 T-1"),
        ("C/2020 F3", "    CK20F030", "provID", "C/2020 F3"),
        ("Vesta", "     Vesta  ", "trkSub", "Vesta"),
        ("5945 Roachapproach", "05945       ", "permID", "5945"),
    ],
)
def test_names_are_packed_as_the_mpc_does(name: str, packed: str, element: str, value: str) -> None:
    found = designation(name)
    assert (found.packed, found.element, found.value) == (packed, element, value)


def test_bodies_of_our_own_have_names_of_their_own() -> None:
    labels = [f"N2026{month:02d}01-{number}" for month in range(1, 13) for number in (1, 2, 10, 999)]
    values = {designation(label).value for label in labels}
    assert len(values) == len(labels)
    assert all(re.fullmatch(r"N[0-9A-Z]{6}", value) for value in values)


@given(
    st.text(max_size=60) | st.sampled_from(["'; DROP TABLE x; --", "../../x", "<script>", "a\x00b", "\ud800"])
)
def test_any_text_has_a_name_that_fits(name: str) -> None:
    found = designation(name)
    assert len(found.packed) == 12
    assert re.fullmatch(r"[ -~]{12}", found.packed)
    if found.element == "trkSub":
        assert re.fullmatch(r"[A-Za-z0-9]{1,7}", found.value)


@pytest.mark.parametrize("label", ["N19991231-1", "N18580101-7", "N99990101-1", "N20000101-1"])
def test_a_body_of_any_night_has_a_name_of_seven(label: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9]{1,7}", designation(label).value)


@pytest.mark.parametrize(
    ("name", "packed"), [("2014 AA620", "_EA0000"), ("2014 AB620", "_EA0001"), ("2014 AZ619", "K14Az9Z")]
)
def test_half_months_with_many_objects_are_packed_the_longer_way(name: str, packed: str) -> None:
    """As in the MPC's page on packed designations: cycles above 619 count from 0000 in base 62."""
    assert designation(name).packed == f"     {packed}"
    assert len(designation("2014 AZ999").packed) == 12
