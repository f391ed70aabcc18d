"""Bedrock Runtime's InvokeModel and InvokeModelWithResponseStream, as a client of custom model imports.

`requests` picks the operation and writes the call, `answers` recognises what comes back, `failures` says what went
wrong. All pure: values in, values out.
"""

from __future__ import annotations

from .answers import RESPONSE_LIMIT, SERVER_SENT_EVENTS, EventWriter, engines_own, garbled, read_answer, read_usage
from .failures import read_error, read_exception
from .requests import Asked, write_request, write_url

__all__ = [
    "RESPONSE_LIMIT",
    "SERVER_SENT_EVENTS",
    "Asked",
    "EventWriter",
    "engines_own",
    "garbled",
    "read_answer",
    "read_error",
    "read_exception",
    "read_usage",
    "write_request",
    "write_url",
]
