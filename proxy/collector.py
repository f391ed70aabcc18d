"""Bodies to a collector of traces nearby, by HTTP in the clear: what needs nothing but a socket.

OpenTelemetry's exporter sends with `requests`, which takes 4 MB of each worker, most of it tables to guess an answer's
charset by. This is for where nothing of that is used; `telemetry.py` knows when.

Strategy, the exporter's own: one connection, kept between deliveries. One that the collector has closed meanwhile is
made anew at once. What may pass by itself is tried again after a pause that doubles, or that the collector asks for, as
long as the delivery has time. All else is a loss, and a line in the log. It blocks: it is for the exporter's thread.
"""

from __future__ import annotations

import http.client
import logging
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

log = logging.getLogger("pointsman.proxy")

URL = re.compile(r"http://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?(?:/[A-Za-z0-9/._~-]*)?")
"""What is sent as it stands: no TLS, no user, nothing to be quoted."""
PASSING = frozenset({429, 502, 503, 504})
"""OTLP/HTTP, "Retryable Response Codes"."""
FIRST_PAUSE = 1.0
LONGEST = 1 << 20
"""Bytes of an answer: more is none of a collector."""
_FAILURES = (OSError, http.client.HTTPException)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a collector says to a delivery."""

    status: int
    kind: str
    """Its content type."""
    content: bytes
    again: float | None = None
    """Seconds after which it wants to be asked again."""


class Collector:
    """Where bodies go. Used by one thread at a time; `close` by any."""

    def __init__(
        self,
        url: str,
        headers: dict[str, str],
        timeout: float,
        heard: Callable[[Answer], None],
        clock: Callable[[], float],
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        """`url` matches `URL`. `timeout`: seconds for one delivery, repeats included. `heard` is told each answer.

        `wait` passes so many seconds, and says whether the end came meanwhile.
        """
        parts = urlsplit(url)
        self._path = parts.path or "/"
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80)
        self._headers = headers
        self._timeout = timeout
        self._heard = heard
        self._clock = clock
        self._closed = threading.Event()
        self._wait = wait or self._closed.wait

    def take(self, body: bytes) -> bool:
        """Deliver; whether the collector has it."""
        until, pause = self._clock() + self._timeout, FIRST_PAUSE
        while not self._closed.is_set():
            answer = self._asked(body, until)
            if isinstance(answer, Answer) and 200 <= answer.status < 400:
                return True
            asked = answer.again if isinstance(answer, Answer) else None
            passing = not isinstance(answer, Answer) or answer.status in PASSING
            waits = pause if asked is None else asked
            why = f"status {answer.status}" if isinstance(answer, Answer) else repr(answer)
            if not passing or self._clock() + waits >= until:
                log.error("spans did not reach the collector of traces: %s", why)
                return False
            log.warning("the collector of traces: %s; once more in %.1f s", why, waits)
            if self._wait(waits):
                return False
            pause *= 2
        return False

    def close(self) -> None:
        """No more deliveries; one that waits gives up."""
        self._closed.set()
        self._connection.close()

    def _asked(self, body: bytes, until: float) -> Answer | Exception:
        """The answer, or why there is none; a connection that was kept and is none any more is not the reason."""
        kept = self._connection.sock is not None
        answer = self._once(body, until)
        again = kept and isinstance(answer, Exception) and self._clock() < until and not self._closed.is_set()
        return self._once(body, until) if again else answer

    def _once(self, body: bytes, until: float) -> Answer | Exception:
        connection = self._connection
        connection.timeout = left = max(until - self._clock(), 0.001)
        if connection.sock is not None:
            connection.sock.settimeout(left)
        try:
            connection.request("POST", self._path, body, self._headers)
            with connection.getresponse() as response:
                answer = _read(response)
                if not response.isclosed():  # there is more of it, or its end is that of the connection
                    connection.close()
        except _FAILURES as error:
            connection.close()
            return error
        self._heard(answer)
        return answer


def _read(response: http.client.HTTPResponse) -> Answer:
    again = response.headers.get("Retry-After", "")
    seconds = float(again) if again.isascii() and again.isdecimal() else None
    return Answer(response.status, response.headers.get("Content-Type", ""), response.read(LONGEST), seconds)
