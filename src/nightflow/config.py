"""Settings: nightflow.toml and the environment.

The file is ``--config``, else ``NIGHTFLOW_CONFIG``, else ``./nightflow.toml``. An environment variable
``NIGHTFLOW_<SECTION>__<KEY>`` wins over the file. Relative paths are relative to the file's folder.
"""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from nightflow.errors import ConfigurationError
from nightflow.instruments.profile import Ladder
from nightflow.shown_url import shown_text, shown_url

__all__ = [
    "DEFAULT_FILE",
    "Engine",
    "MissingCalibrationPolicy",
    "Settings",
    "is_unshown",
    "load_settings",
    "settings_file",
]

DEFAULT_FILE = "nightflow.toml"
_SECRET = "_key"
"""How the names of settings end whose value is told nobody."""
_UNSHOWN = "unshown"
"""Marks settings that may hold a password or a token, as every `SecretStr` does: they are told nobody."""

MissingCalibrationPolicy = Literal["warn", "hold"]

Engine = Literal["fast", "reference"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StoreSettings(_Section):
    """Where ledger and light curves live."""

    url: Annotated[str, _UNSHOWN] = "sqlite:///nightflow.sqlite"
    """SQLAlchemy URL: sqlite:///relative.sqlite or postgresql+psycopg://user@host/database."""


class PathSettings(_Section):
    """Folders, relative to the settings file."""

    masters: Path = Path("masters")
    products: Path = Path("products")
    catalogs: Path = Path("catalogs")
    index_files: Path = Path("index-files")
    cameras: Path = Path("cameras")
    """Camera profiles of your own; they win over those that come with nightflow."""
    backups: Path = Path("backups")
    """Of the store, by the flow `maintenance`; a folder on another disk is the better one."""
    logs: Path = Path("logs")
    """Of `watch`, a file a night."""


class RunSettings(_Section):
    """`nightflow run`."""

    missing_calibration: MissingCalibrationPolicy = "warn"
    products: bool = True
    """Write reduced FITS files and thumbnails."""


class StepLimits(_Section):
    """Seconds after which a step of the live service is ended, by ending its worker.

    They are for what hangs, not for what is slow: the exposure is tried again, three times in all.
    """

    identify: float = Field(120.0, gt=0)
    calibrate: float = Field(900.0, gt=0)
    """Masters may have to be built first."""
    measure: float = Field(300.0, gt=0)
    solve: float = Field(600.0, gt=0)
    """Each rung of the ladder has a limit of its own."""
    flux: float = Field(300.0, gt=0)
    append: float = Field(300.0, gt=0)
    products: float = Field(300.0, gt=0)
    other: float = Field(300.0, gt=0)
    """All else, waiting for the Prefect server between two steps too."""


class WatchSettings(_Section):
    """`nightflow watch`."""

    folders: list[Path] = [Path("incoming")]
    missing_calibration: MissingCalibrationPolicy = "hold"
    settle_seconds: float = Field(1.0, ge=0)
    """A file whose length its headers do not tell is taken when its size has not changed for so long."""
    sweep_seconds: float = Field(30.0, gt=0)
    """How often folders are listed anew, for what the events did not tell."""
    polling: Literal["auto", "always", "never"] = "auto"
    """Which folders are listed every ``poll_seconds``, because no events come from there; auto: those on
    file systems of a network (NFS, SMB, ...)."""
    poll_seconds: float = Field(2.0, gt=0)
    """At least ten times as long as the listing takes."""
    keep_logs_days: float = Field(90.0, ge=0)
    """0: no log is written into files."""
    workers: int = Field(1, ge=1, le=8)
    """Exposures reduced at the same time, each by a process of its own."""
    memory_gb: float = Field(0.0, ge=0)
    """Of one worker: above it the worker is replaced after its exposure, half as much again ends it at once.
    0: half of the machine's, shared by the workers."""
    limits: StepLimits = StepLimits()
    lease_seconds: float = Field(300.0, gt=0)
    products: bool = True


class AstrometrySection(_Section):
    """What solving needs beside the cameras' profiles."""

    ladder: Ladder | None = Field(None, min_length=1)
    """Rungs for every camera, instead of those of its profile."""
    nova_key: SecretStr = SecretStr("")
    """API key of an account at nova.astrometry.net, better in the environment
    (NIGHTFLOW_ASTROMETRY__NOVA_KEY); without one the rung `nova` asks nothing."""
    nova_url: str = "https://nova.astrometry.net"
    nova_seconds: float = Field(120.0, gt=0)
    """Wall time for one frame at the service, its queue included."""


class AssociationSettings(_Section):
    """How `nightflow finish` makes sources of a night's detections and looks for what moves."""

    radius_arcsec: float | None = Field(None, gt=0)
    """Between detections of one source; else the larger of 1", three times the rms of the WCS and half of the
    FWHM, but no more than the larger of 3" and 1.5 pixels."""
    least_detections: int = Field(3, ge=1)
    """That make a source; two do at a place that fewer than ten frames covered."""
    least_fraction: float = Field(0.0, ge=0, le=1)
    """Of the field's frames on which a source must be detected; 0.3 keeps the faint and the passing out."""
    fastest_arcsec_per_hour: float = Field(300.0, gt=0)
    """Bodies that are faster are not looked for."""


class ProductSettings(_Section):
    """Files for people: reduced frames and thumbnails."""

    compression: Literal["none", "lossless", "rice"] = "none"
    """Of reduced frames, tile by tile as `fpack` does: "lossless" (gzip) keeps every bit; "rice" rounds to
    a sixteenth of the noise."""
    unit: Literal["electron", "microjansky"] = "electron"
    """Of the pixels of reduced frames; a frame without a zero point in a band of known AB magnitude stays in
    electrons, with a warning."""
    quota: float = Field(0.0, ge=0)
    """Gigabytes that products of frames may take; the oldest go first. 0: no bound but the disk's."""
    residual_plots: bool = False
    """Whether a picture of the WCS's residuals is written beside each thumbnail; it takes as long as the rest
    of the products. `nightflow residuals` draws it at any time."""


class PrefectSettings(_Section):
    """The Prefect server that shows the runs."""

    enabled: bool = True
    api_url: str = ""
    """Empty: PREFECT_API_URL of the environment."""
    probe_seconds: float = Field(30.0, gt=0)
    """How often an absent server is looked for."""
    dask_address: str = Field("", pattern=r"^((tcp|tls)://.+:\d+)?$")
    """Of the scheduler of a Dask cluster that backfills are reduced on, as tcp://HOST:8786; empty: on this
    machine and its work pool. It needs the extra `dask` and a Postgres store."""


class SiteSettings(_Section):
    """Where the telescope stands: for when it is night. Frames have the site of their headers or profiles."""

    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)
    """Degrees, WGS84, positive towards east."""
    height: float = 0.0
    """Metres above the ellipsoid."""


class NotifySettings(_Section):
    """Whom `nightflow watch` tells of what a person should know; see `nightflow.service.alarms`."""

    command: list[str] = []
    """A program and its arguments; the message comes on its standard input, NIGHTFLOW_EVENT says of what."""
    webhook: SecretStr = SecretStr("")
    """Address that gets a JSON object {"event", "text"}. It may hold a secret: set it as
    NIGHTFLOW_NOTIFY__WEBHOOK in the environment."""
    again_minutes: float = Field(30.0, ge=0)
    """An event of the same kind is told again after so long; what comes meanwhile is told with it."""
    no_frame_minutes: float = Field(20.0, gt=0)
    """Without a frame while it is dark at `[site]`."""
    zero_point_fall: float = Field(0.5, gt=0)
    """Magnitudes below the median of the camera's last hours in a filter."""
    room_gib: float = Field(5.0, ge=0)
    """Free space for products or store below which it is told; products that would leave less on their disk
    are not written, for the ledger and the masters need it. 0: until the disk is full."""

    @property
    def names_somebody(self) -> bool:
        """Whether there is anybody to tell."""
        return bool(self.command or self.webhook.get_secret_value())


class Settings(BaseSettings):
    """All settings; see `load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix="NIGHTFLOW_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        # A traceback has the text of the error that ours was made of.
        hide_input_in_errors=True,
    )

    root: Path = Path()
    """Folder of the settings file."""
    file_name: str = DEFAULT_FILE
    """Of the settings file; of several in one folder each has a service, or a machine, of its own."""
    engine: Engine = "fast"
    """What computes: our kernels and sep; or, to be compared with, ccdproc, astroscrappy and photutils, which
    take some twenty times as long."""
    max_pixels: int = Field(2**28, ge=1, lt=2**31)
    """Of one image (16384 x 16384); a header that claims more is refused before anything is allocated."""
    store: StoreSettings = StoreSettings()
    paths: PathSettings = PathSettings()
    run: RunSettings = RunSettings()
    watch: WatchSettings = WatchSettings()
    astrometry: AstrometrySection = AstrometrySection()
    association: AssociationSettings = AssociationSettings()
    products: ProductSettings = ProductSettings()
    prefect: PrefectSettings = PrefectSettings()
    site: SiteSettings | None = None
    notify: Annotated[NotifySettings, _UNSHOWN] = NotifySettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file."""
        return env_settings, init_settings

    @property
    def file(self) -> Path:
        """The settings file."""
        return self.root / self.file_name

    def resolve(self, path: Path) -> Path:
        """Return ``path`` as seen from the settings file's folder."""
        return path if path.is_absolute() else self.root / path

    @property
    def store_url(self) -> str:
        """The store's URL with a relative SQLite path made absolute."""
        prefix = "sqlite:///"
        url = self.store.url
        if url.startswith(prefix) and url != "sqlite:///:memory:":
            return prefix + str(self.resolve(Path(url.removeprefix(prefix))))
        return url


def settings_file(path: Path | None = None) -> Path:
    """Return where the settings are read from: ``path``, else NIGHTFLOW_CONFIG, else ./nightflow.toml."""
    return path or Path(os.environ.get("NIGHTFLOW_CONFIG") or DEFAULT_FILE)


def load_settings(path: Path | None = None) -> Settings:
    """Read the settings.

    Parameters
    ----------
    path : Path, optional
        The file; else ``NIGHTFLOW_CONFIG``, else ``./nightflow.toml``.

    Raises
    ------
    ConfigurationError
        The file is absent, cannot be read, is not TOML, or it or the environment holds a key or value that it
        may not.
    """
    file = settings_file(path)
    try:
        if not file.is_file():  # or nobody may tell: its folder cannot be searched
            raise ConfigurationError(
                f"{file}: no settings file; make one with `nightflow init DIR`, "
                "or name it with --config or NIGHTFLOW_CONFIG"
            )
        content = tomllib.loads(file.read_text())
        there = file.resolve()
        return Settings(**{**content, "root": there.parent, "file_name": there.name})
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{file}: not valid TOML: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file}: cannot be read: {error}") from error
    except ValidationError as error:
        raise ConfigurationError(f"{file}: {describe_validation(error, Settings)}") from error
    except SettingsError as error:
        names = ", ".join(name for name in os.environ if _needs_json(name) and not _is_json(os.environ[name]))
        raise ConfigurationError(
            f"environment: {names}: no JSON, as lists and tables must be there"
        ) from error


def _needs_json(variable: str) -> bool:
    """Return whether an environment variable is of a setting that is a list or a table."""
    prefix, _, key = variable.lower().partition("_")
    known: Any = Settings if prefix == "nightflow" else None
    for part in key.split("__"):
        field = known.model_fields.get(part) if _is_model(known) else None
        known = field.annotation if field else None
    return _is_model(known) or get_origin(known) in (list, dict)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def describe_validation(error: ValidationError, model: type[BaseModel]) -> str:
    """Return each fault with its key, the value and, for an unknown key, the nearest known one."""
    return "; ".join(_describe_fault(fault, model) for fault in error.errors())


def _describe_fault(fault: Any, model: type[BaseModel]) -> str:
    location = [str(part) for part in fault["loc"]]
    key = ".".join(location)
    if fault["type"] == "extra_forbidden":
        known = _known_keys(model, location[:-1])
        nearest = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean {nearest[0]}?" if nearest else f"known keys: {', '.join(sorted(known))}"
        return f"unknown key {key}; {hint}"
    return f"{key} = {_shown(fault['input'], location, model)}: {fault['msg']}"


def _shown(value: Any, location: Sequence[str], model: type[BaseModel]) -> str:
    if is_unshown(location, model):
        value = "..."
    # What is no text may hold some, such as a list of one URL.
    return repr(shown_url(value)) if isinstance(value, str) else shown_text(repr(value))


def is_unshown(location: Sequence[str], model: type[BaseModel]) -> bool:
    """Return whether the value of a key, or what it holds, may be a secret, of whatever type it is.

    Parameters
    ----------
    location : sequence of str
        The parts of the key, those of an item in its value after it, if any.
    model : type
        Whose key it is.
    """
    known: Any = model
    for part in location:
        field = known.model_fields.get(part) if _is_model(known) else None
        if part.endswith(_SECRET) or (field is not None and _is_secret(field)):
            return True
        known = _model_inside(field.annotation if field else known)
    # A section as a whole, where it is no table.
    return _is_model(known) and any(map(_is_secret, known.model_fields.values()))


def _is_secret(field: FieldInfo) -> bool:
    return _UNSHOWN in field.metadata or field.annotation is SecretStr


def _known_keys(model: type[BaseModel], location: list[str]) -> list[str]:
    known: Any = model
    for part in location:
        field = known.model_fields.get(part) if _is_model(known) else None
        # Inside a table of models (`dict[str, Model]`) any key stands for one.
        known = _model_inside(field.annotation if field else known)
    return list(known.model_fields) if _is_model(known) else []


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _model_inside(annotation: Any) -> Any:
    """Return the model in `Model | None`, `dict[str, Model]` or `Annotated[Model, ...]`, if there is one."""
    if _is_model(annotation):
        return annotation
    inside = (_model_inside(part) for part in get_args(annotation))
    return next((part for part in inside if _is_model(part)), None)
