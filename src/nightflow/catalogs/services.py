"""The catalogues that can be fetched: one row each, with two routes at least, for services go down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from nightflow.catalogs.routes import Route, Source, query_skyserver, query_tap, query_vizier
from nightflow.errors import ConfigurationError

__all__ = ["SERVICES", "Service", "service_called"]

GAIA_TAP = "https://gea.esac.esa.int/tap-server/tap"
VIZIER_TAP = "https://tapvizier.cds.unistra.fr/TAPVizieR/tap"
MAST_TAP = "https://mast.stsci.edu/vo-tap/api/v0.1/ps1dr2"


@dataclass(frozen=True, kw_only=True)
class Service:
    """A catalogue of the sky that others keep.

    Attributes
    ----------
    key, title : str
        What it is called on the command line, and by people.
    routes : mapping of str to Route
        Tried in order.
    epoch : float
        Julian year of the positions.
    order : int
        Of the HEALPix pixels by which its coverage is kept: no larger than the smallest tile of its routes.
    limit_mag : float
        Limit where none is asked for.
    limit_band : str
        Band of the limit.
    everywhere : bool
        It has stars in every field: an empty answer is a fault.
    ab_offsets : mapping of str to float
        Band -> magnitude to be added to come to AB.
    """

    key: str
    title: str
    routes: Mapping[str, Route]
    epoch: float
    order: int = 8
    limit_mag: float
    limit_band: str
    everywhere: bool = True
    ab_offsets: Mapping[str, float] | None = None


def _bands(bands: str, name: str, error: str) -> dict[str, str]:
    """Return their column -> ours, for magnitudes and errors, by patterns with the band as {0}."""
    magnitudes = {name.format(band): band for band in bands}
    return magnitudes | {error.format(band): f"{band}_err" for band in bands}


_GAIA = Source(
    table="gaiadr3.gaia_source",
    columns={
        "source_id": "id", "ra": "ra", "dec": "dec", "pmra": "pmra", "pmdec": "pmdec",
        "phot_g_mean_mag": "G", "phot_bp_mean_mag": "BP", "phot_rp_mean_mag": "RP",
    },
    limit="phot_g_mean_mag",
)  # fmt: skip
_GAIA_VIZIER = Source(
    table="I/355/gaiadr3",
    columns={
        "Source": "id", "RA_ICRS": "ra", "DE_ICRS": "dec", "pmRA": "pmra", "pmDE": "pmdec",
        "Gmag": "G", "BPmag": "BP", "RPmag": "RP",
    },
    limit="Gmag",
)  # fmt: skip
_APASS_COLUMNS = {
    "recno": "id", "RAJ2000": "ra", "DEJ2000": "dec",
    **_bands("BV", "{}mag", "e_{}mag"), **_bands("gri", "{}'mag", "e_{}'mag"),
}  # fmt: skip
_APASS = Source(table="II/336/apass9", columns=_APASS_COLUMNS, limit="Vmag")
_APASS_TAP = Source(table='"II/336/apass9"', columns=_APASS_COLUMNS, limit="Vmag")
_PS1 = Source(
    table="II/349/ps1",
    columns={
        "objID": "id",
        "RAJ2000": "ra",
        "DEJ2000": "dec",
        **_bands("griz", "{}mag", "e_{}mag"),
    },
    limit="rmag",
)
_PS1_MAST = Source(
    table="dbo.MeanObjectView",
    columns={
        "objID": "id",
        "raMean": "ra",
        "decMean": "dec",
        **_bands("griz", "{}MeanPSFMag", "{}MeanPSFMagErr"),
    },
    limit="rMeanPSFMag",
    condition="rMeanPSFMag > 0 AND nDetections > 1",  # -999 stands for a magnitude that was not measured
    row_cap=100_000,
)
_SDSS = Source(
    table="PhotoObj",
    columns={"objID": "id", "ra": "ra", "dec": "dec", **_bands("ugriz", "psfMag_{}", "psfMagErr_{}")},
    limit="psfMag_r",
    condition="p.type = 6 AND p.mode = 1 AND p.clean = 1",  # stars, seen once, without a fault
    row_cap=10_000,
)
_SDSS_VIZIER = Source(
    table="V/154/sdss16",
    columns={
        "objID": "id",
        "RA_ICRS": "ra",
        "DE_ICRS": "dec",
        **_bands("ugriz", "{}pmag", "e_{}pmag"),
    },
    limit="rpmag",
    condition="class==6,mode==1",
)

SERVICES: Mapping[str, Service] = {
    service.key: service
    for service in (
        Service(
            key="gaia",
            title="Gaia DR3",
            routes={
                "Gaia archive (TAP)": Route(query=partial(query_tap, url=GAIA_TAP, source=_GAIA)),
                "VizieR": Route(query=partial(query_vizier, source=_GAIA_VIZIER)),
            },
            epoch=2016.0,
            limit_mag=19.0,
            limit_band="G",
        ),
        Service(
            key="apass",
            title="APASS DR9",
            routes={
                "VizieR": Route(query=partial(query_vizier, source=_APASS)),
                "VizieR (TAP)": Route(query=partial(query_tap, url=VIZIER_TAP, source=_APASS_TAP)),
            },
            epoch=2000.0,
            limit_mag=17.0,
            limit_band="V",
        ),
        Service(
            key="panstarrs",
            title="Pan-STARRS1",
            routes={
                "VizieR": Route(query=partial(query_vizier, source=_PS1), tile_radius=0.5),
                "MAST (TAP)": Route(
                    query=partial(query_tap, url=MAST_TAP, source=_PS1_MAST), tile_radius=0.25
                ),
            },
            epoch=2013.0,
            limit_mag=19.0,
            limit_band="r",
            everywhere=False,  # north of -30 degrees
        ),
        Service(
            key="sdss",
            title="SDSS",
            routes={
                "VizieR": Route(query=partial(query_vizier, source=_SDSS_VIZIER), tile_radius=0.5),
                "SkyServer": Route(query=partial(query_skyserver, source=_SDSS), tile_radius=0.0499),
            },
            epoch=2000.0,
            order=11,  # pixels of 1.7', that fit into cones of 3'
            limit_mag=20.0,
            limit_band="r",
            everywhere=False,
            ab_offsets={"u": -0.04, "z": 0.02},
        ),
    )
}
"""Asinh and logarithmic magnitudes of SDSS agree to 1 % for what is brighter than 20.5 (Lupton et al. 1999);
its zero points are off AB by ``ab_offsets`` (SDSS DR17, algorithms, "Conversion from SDSS ugriz to AB")."""


def service_called(key: str) -> Service:
    """Return a service by its key.

    Raises
    ------
    ConfigurationError
        There is none of that key.
    """
    if key not in SERVICES:
        raise ConfigurationError(f"service {key!r}: known are {', '.join(SERVICES)}")
    return SERVICES[key]
