"""Tell somebody: by a program of theirs, or by an address that takes JSON.

Sending is bounded in time and happens beside the work; what goes wrong with it is a line in the log, and no
frame waits for it. The address may hold a secret: it is never written anywhere.
"""

from __future__ import annotations

import http.client
import json
import logging
import queue
import re
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from nightflow.config import NotifySettings, Settings
from nightflow.epochs import mjd_of
from nightflow.errors import NightflowError
from nightflow.external import ProgramError, run_bounded
from nightflow.instruments.fits_file import is_there
from nightflow.service.told import Told, told_file
from nightflow.sun import DARK, sun_altitude

__all__ = ["NotSentError", "Notifier", "send", "tell_once"]

log = logging.getLogger(__name__)

_SECONDS = 20.0
"""That a program or an address may take."""
_WAITING = 100
"""Messages that wait to be sent; more are dropped, and it is said."""
_LONGEST = 4000
"""Characters of a message."""
_SHORTEST_TOKEN = 8
_PAUSES = (0.0, 30.0, 120.0, 600.0)
"""Seconds before each try to send a message: what cuts the line may be what is to be told."""


class NotSentError(NightflowError):
    """A message did not reach anybody; the text says why, without the address."""


def send(settings: NotifySettings, event: str, text: str) -> None:
    """Send a message by all ways that are set.

    Raises
    ------
    NotSentError
        One of them failed; the others were tried.
    """
    text = text[:_LONGEST]
    faults = []
    if settings.command:
        faults += _by_command(settings.command, event, text)
    if address := settings.webhook.get_secret_value():
        faults += _by_webhook(address, event, text)
    if faults:
        raise NotSentError("; ".join(faults))


def _by_command(command: Sequence[str], event: str, text: str) -> list[str]:
    try:
        finished = run_bounded(
            command,
            seconds=_SECONDS,
            stdin=text + "\n",
            environment={"NIGHTFLOW_EVENT": event},
            secrets=_secrets(command),
        )
    except ProgramError as error:
        return [f"notify.command: {error}"]
    if finished.status:
        return [f"notify.command: {command[0]} ended with status {finished.status}: {finished.last_words}"]
    return []


def _secrets(command: Sequence[str]) -> list[str]:
    """Return what of a command's arguments may be a token, and is not quoted: what is long, and no file."""
    arguments = [argument for argument in command[1:] if not is_there(argument)]
    words = [word for argument in arguments for word in (argument, *re.split(r"[\s=]+", argument))]
    return [word for word in words if len(word) >= _SHORTEST_TOKEN]


def _by_webhook(address: str, event: str, text: str) -> list[str]:
    body = json.dumps({"event": event, "text": text}).encode()
    try:
        request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
        if request.type not in ("http", "https"):
            return ["notify.webhook: the address must begin with http:// or https://"]
        with urllib.request.urlopen(request, timeout=_SECONDS):
            return []
    except (ValueError, http.client.InvalidURL):
        return ["notify.webhook: not an address"]  # what was typed, a secret, is in the error's text
    except http.client.HTTPException as error:
        return [f"notify.webhook: no answer that is HTTP ({type(error).__name__})"]
    except OSError as error:
        return [f"notify.webhook: {str(error).replace(address, 'the address')}"]


@dataclass
class _Event:
    """What was told of a kind of event, and what has come since."""

    told: float | None = None
    since: list[str] = field(default_factory=list)


class Notifier:
    """Sends messages from a thread of its own, those of one kind not more often than wanted.

    Parameters
    ----------
    settings : NotifySettings
    told : Told, optional
        What others told of the same events.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        settings: NotifySettings,
        *,
        told: Told | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._told = told
        self._clock = clock
        self._events: dict[str, _Event] = {}
        self._queue: queue.Queue[tuple[str, str] | None] = queue.Queue(_WAITING)
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()

    def use(self, settings: NotifySettings) -> None:
        """Tell by other settings from now on."""
        self._settings = settings

    @property
    def wanted(self) -> bool:
        """Whether there is anybody to tell."""
        return self._settings.names_somebody

    def tell(self, event: str, text: str) -> None:
        """Send a message soon, or with the next of its kind where one was sent a short time ago."""
        log.warning("%s: %s", event, text)
        if not self.wanted:
            return
        known = self._events.setdefault(event, _Event())
        known.since.append(text)
        if self._may_tell(event, known):
            self._post(event, known.since)

    def catch_up(self) -> None:
        """Send what has been kept back for long enough."""
        for event, known in list(self._events.items()):
            if known.since and self._may_tell(event, known):
                self._post(event, known.since)

    def close(self, seconds: float = 5.0) -> None:
        """Send what waits, each once, but not for longer than ``seconds``."""
        self._closing.set()
        if self._thread is not None:
            self._put(None)
            self._thread.join(seconds)

    def _may_tell(self, event: str, known: _Event) -> bool:
        seconds = 60.0 * self._settings.again_minutes
        if known.told is not None and self._clock() - known.told < seconds:
            return False
        return self._told is None or self._told.claim(event, seconds)

    def _post(self, event: str, texts: list[str]) -> None:
        self._events[event] = _Event(told=self._clock())
        more = f"\n(and {len(texts) - 1} more like it)" if len(texts) > 1 else ""
        if self._thread is None:
            self._thread = threading.Thread(target=self._send_all, name="notify", daemon=True)
            self._thread.start()
        self._put((event, texts[-1] + more))

    def _put(self, message: tuple[str, str] | None) -> None:
        try:
            self._queue.put_nowait(message)
        except queue.Full:
            log.warning("%d messages wait to be sent: one is dropped", _WAITING)

    def _send_all(self) -> None:
        while (message := self._queue.get()) is not None:
            self._deliver(*message)

    def _deliver(self, event: str, text: str) -> None:
        """Send a message, again and again where it fails; the thread outlives whatever goes wrong."""
        for number, pause in enumerate(_PAUSES):
            if number and self._closing.wait(pause):
                break
            try:
                send(self._settings, event, text)
                return
            except NotSentError as error:
                log.warning("nobody was told of %s yet: %s", event, error)
            except Exception as error:  # noqa: BLE001  # the thread lives on; the text may hold the address
                log.error("nobody was told of %s: %s", event, type(error).__name__)
                break
        if self._told is not None:
            self._told.forget(event)


def tell_once(settings: Settings, event: str, text: str, *, only_at_night: bool = False) -> str:
    """Send a message, if its kind was not told a short time ago by whatever process; return what was done.

    Parameters
    ----------
    settings : Settings
        Sections ``notify`` and, for the night, ``site``.
    only_at_night : bool
        Not while the Sun is higher than -12 degrees at the site.

    Raises
    ------
    NotSentError
        It did not reach anybody.
    """
    site = settings.site
    if only_at_night and site is not None:
        altitude = float(sun_altitude(site.latitude, site.longitude, mjd_of(datetime.now(UTC)), site.height))
        if altitude >= DARK:
            return f"not told: the Sun stands at {altitude:.0f} degrees"
    if not settings.notify.names_somebody:
        return "not told: [notify] names nobody"
    told = Told(told_file(settings.file))
    if not told.claim(event, 60.0 * settings.notify.again_minutes):
        return f"not told: {event} was told less than {settings.notify.again_minutes:g} minutes ago"
    try:
        send(settings.notify, event, text)
    except NotSentError:
        told.forget(event)
        raise
    return "sent"
