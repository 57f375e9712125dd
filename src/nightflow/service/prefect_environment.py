"""Prefect's settings for a telescope's computer, put in place before Prefect is imported.

Prefect reads its environment at import; some of its background threads know nothing else.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

from nightflow.config import PrefectSettings

__all__ = ["SERVER", "prepare_environment"]

FIXED = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    # Without a server the night is reduced without Prefect, never with a server of Prefect's own making.
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
}
DEFAULTS = {
    # Five tries with doubling pauses hold a run for a minute after its server has died.
    "PREFECT_CLIENT_MAX_RETRIES": "2",
    # A log line that cannot be sent is no reason for a traceback on the console.
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    # The UI shows what a run did; the service's own log has one line a frame already.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING",
    # A server that hangs is as good as none.
    "PREFECT_API_REQUEST_TIMEOUT": "10",
}
SERVER = {
    # By default each of the thirty events of a run is a transaction of its own, two fifths of what a server
    # has to do. Together they cost little, and the pages are a second late at most.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TRIGGERS_READ_BATCH_SIZE": "50",
}
"""Settings of a server that has a run every few seconds, as the units in ``deployments`` give them."""


def prepare_environment(
    settings: PrefectSettings, environment: MutableMapping[str, str] = os.environ
) -> None:
    """Set Prefect's environment for this process and those it starts.

    Parameters
    ----------
    settings : PrefectSettings
        ``api_url`` there wins over that of the environment.
    environment : mutable mapping
        For tests.
    """
    environment.update(FIXED)
    for name, value in DEFAULTS.items():
        environment.setdefault(name, value)
    if settings.api_url:
        environment["PREFECT_API_URL"] = settings.api_url
