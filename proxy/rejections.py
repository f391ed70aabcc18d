"""Spans that a collector has taken and then says it rejects: OTLP's partial success, of which the exporter is silent.

The collector counts them itself. Here they are a line in the log, where whoever misses spans looks first: at once, and
then at most one a minute, with all that came since.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from .collector import Answer

if TYPE_CHECKING:
    from requests import Response

log = logging.getLogger("pointsman.proxy")

APART = 60_000_000_000
"""Nanoseconds between two lines."""
LONGEST = 300
"""Characters of a collector's message that are repeated."""


class Rejections:
    """Looks at a collector's answers: by itself a hook for `requests`."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._spans = 0
        self._told_at: int | None = None

    def __call__(self, response: Response, *_: Any, **__: Any) -> None:
        """One answer of `requests`."""
        self.heard(Answer(response.status_code, response.headers.get("Content-Type", ""), response.content))

    def heard(self, answer: Answer) -> None:
        """One answer. Raises nothing: it must cost no delivery."""
        if answer.status >= 400 or not answer.kind.startswith("application/x-protobuf"):
            return
        try:
            told = ExportTraceServiceResponse.FromString(answer.content).partial_success
        except Exception:  # noqa: BLE001 - whatever stands there, it is no word about spans
            return
        self._spans += told.rejected_spans
        if told.rejected_spans > 0 or told.error_message:  # without a number it is a warning
            self._tell(told.error_message)

    def _tell(self, message: str) -> None:
        now = self._now_ns()
        if self._told_at is not None and now - self._told_at < APART:
            return
        log.warning(
            "spans that the collector of traces took and then rejected: %d; it says %.*r", self._spans, LONGEST, message
        )
        self._spans, self._told_at = 0, now
