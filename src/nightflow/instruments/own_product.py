"""nightflow's own reduced frames as input: known by NFCAMERA, and read by what the writer has written.

`nightflow.products.reduced_frame` writes them; the cards of the camera that it keeps may say what does not
hold any more (local time, raw regions, an index for a gain), so that its own go before those of the profile.
"""

from __future__ import annotations

from collections.abc import Sequence

from astropy.io import fits

from nightflow.instruments.detector_settings import DetectorSettings
from nightflow.instruments.header_reader import card_value
from nightflow.instruments.profile import CameraProfile, KeywordRule
from nightflow.instruments.values import parse_text

__all__ = ["OF_PLANES", "OWN_STEPS", "as_written", "camera_of", "is_own_product"]

OF_PLANES = (
    "saturation", "variance", "hot_pixels", "persistence", "cosmic_rays", "trails", "fill",
)  # fmt: skip
"""Steps whose outcome stands in the planes UNCERT and FLAGS, beside the pixels."""

OWN_STEPS = (
    "saturation", "bad_regions", "overscan", "crosstalk", "trim", "pedestal", "bias", "linearity", "balance",
    "variance", "dark", "flat", "illumination", "fringe", "hot_pixels", "persistence", "cosmic_rays",
    "trails", "fill",
)  # fmt: skip
"""Rows of `nightflow.detector.chain.STEPS` that a product is past, in their order: all but the gain, which is
1 for electrons and the header's for microjansky."""

_ANY_LEVEL = 1e30
"""What is saturated stands in the flags, not in the pixels any more."""

_WRITTEN = {
    "exptime": KeywordRule(keys=["EXPTIME"]),
    "date_obs": KeywordRule(keys=["DATE-OBS"]),
    "date_mid": KeywordRule(keys=["MJD-AVG"], format="mjd"),
    "object": KeywordRule(keys=["OBJECT"]),
    "filter": KeywordRule(keys=["FILTER"]),
    "airmass": KeywordRule(keys=["AIRMASS"]),
    "latitude": KeywordRule(keys=["SITELAT"]),
    "longitude": KeywordRule(keys=["SITELONG"]),
    "height": KeywordRule(keys=["SITEELEV"]),
    "gain": KeywordRule(keys=["GAIN"]),
    "read_noise": KeywordRule(keys=["RDNOISE"]),
    "detector": KeywordRule(keys=["NFDETECT"]),
}
_OF_THE_RAW_FRAME = frozenset(
    {
        "clock",
        "date_end",
        "saturation",
        "pedestal",
        "overscan",
        "trim",
        "amplifier",
        "chip_section",
        "calibrated",
    }
)


def camera_of(headers: Sequence[fits.Header]) -> str:
    """Return the name of the profile that a product was made with; "" where it is none of ours."""
    return next((name for one in headers if (name := parse_text(card_value(one, "NFCAMERA")))), "")


def is_own_product(headers: Sequence[fits.Header]) -> bool:
    """Return whether nightflow wrote this: it names the camera's profile, and the unit of the pixels."""
    return bool(camera_of(headers)) and any("BUNIT" in one for one in headers)


def as_written(profile: CameraProfile) -> CameraProfile:
    """Return the profile by which the header of a product is read."""
    kept = {name: rule for name, rule in profile.keywords.items() if name not in _OF_THE_RAW_FRAME}
    detector = DetectorSettings(saturation=_ANY_LEVEL, bayer=profile.detector.bayer)
    return profile.model_copy(
        update={"keywords": {**kept, **_WRITTEN}, "filters": {}, "detector": detector, "hdus": "first"}
    )
