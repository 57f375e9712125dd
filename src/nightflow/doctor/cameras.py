"""Camera profiles: do they parse?"""

from __future__ import annotations

from collections.abc import Iterator

from nightflow.config import Settings
from nightflow.doctor.finding import Finding, fault, fine
from nightflow.errors import ConfigurationError
from nightflow.instruments.registry import load_profiles

__all__ = ["check_cameras"]


def check_cameras(settings: Settings) -> Iterator[Finding]:
    """Read every profile, one's own and those that come with nightflow."""
    folder = settings.resolve(settings.paths.cameras)
    try:
        own = len(list(folder.glob("*.toml"))) if folder.is_dir() else 0
        names = [profile.name for profile in load_profiles(folder)]
    except ConfigurationError as error:
        yield fault("cameras", str(error), f"mend the profile in {folder}; no frame is reduced until then")
        return
    yield fine("cameras", f"{len(names)} profiles, {own} of your own: {', '.join(names)}")
