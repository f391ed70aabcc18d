"""The request log's lines: one JSON object for every request, and the outcome that such a line tells of.

`line` and `read` are each other's inverse, and `KEYS` names every key with its meaning; docs/observability.md repeats
the table and a test holds the three together. What would be null or false is left out, which of a usual request is half
of all there is: to `jq` and to `dict.get` a key that is not there is null. There is no body, credential or custom
attribute in an `Outcome`, so none can get here. Control characters are escaped, those that terminals obey beyond ASCII
included.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

import orjson

from backends.base import Usage
from backends.outcome import SHADOW, WARM, AttemptOutcome, Outcome
from policies.migrating import Place

KEYS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "log": "`request`, `warm` for a warm-up, or `shadow` for a copy: tells these from other lines",
        "time": "when the request's head arrived, RFC 3339, UTC, microseconds",
        "request_id": "`x-amzn-RequestId` of the answer",
        "endpoint": "EndpointName as the policy has it; empty when the policy has no such endpoint",
        "component": "InferenceComponentName, if any",
        "operation": "`InvokeEndpoint` or `InvokeEndpointWithResponseStream`; of other contracts `Invocations`, "
        "`ChatCompletions`, `Completions`, `Embeddings`; of a warm-up `Warm`, of a copy `Shadow`",
        "status": "HTTP status sent to the client; 499: the client left before one was sent",
        "error_type": "AWS error type sent to the client, also where its contract has another word for it; if any",
        "ended": "`done`, `refused`, `failed`, `client_gone`, `upstream_broken` or `deadline`",
        "seconds": "from the request's head to the last byte handed to the socket",
        "backend_seconds": "of these: spent waiting for targets",
        "queue_seconds": "of these: spent waiting for a place at targets that were full; if it met one",
        "overhead_seconds": "of these: the rest, this hop's own (a slow client's reading and the customer's code "
        "included)",
        "first_chunk_seconds": "streams: from the request's head to the first piece of the answer",
        "first_chunk_backend_seconds": "streams: of these, spent waiting for targets",
        "attempts": "list, in order; keys below",
        "bytes_in": "length of the request's body",
        "bytes_out": "length of the answer's body",
        "parts_out": "PayloadPart frames sent",
        "policy": "digest and generation of the policy that decided",
        "why": "why the targets were tried in this order, or why none was, in words",
        "owner": "the route's owner, if any",
        "prompt_tokens": "as the target counted them, if it did: of whole answers up to 64 KiB, and of streams that "
        "tell it (OpenAI's do if asked to, by `stream_options`; TGI's in the `details` of their last event, where the "
        "target `speaks: tgi` and its release counts the prompt)",
        "completion_tokens": "as the target counted them, as above",
        "sdk_invocation_id": "`amz-sdk-invocation-id`: the same on every try of one client call; if any",
        "sdk_attempt": "which try of the client this is, from 1",
        "trace_id": "32 hex digits when the request belongs to a trace",
        "handler_status": "status of a failure in the customer's own code around the model, if any",
        "principal": "who asked: the name that their key or certificate stands for, where callers are asked",
        "cold": "what a cold target made of it: `spill`, `hold` or `fail`, if it met one",
        "side": "where its route migrates, the target that the request was meant for",
        "migration": "where its route's migration stood (keys below), where one was on its way",
        "inner": "true: a customer's code asked for it, inside of the request that has the same `request_id`",
    }
)
ATTEMPT_KEYS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "target": "name of the target in the policy",
        "kind": "`endpoint`, `bedrock` or `vllm`",
        "replica": "index into the target's `urls`",
        "seconds": "from sending to the answer (streams: to its first piece), or to the failure",
        "failure": "cause in words, if it did not answer",
        "cold": "true: the target had no ready copy",
        "throttled": "true: the target refused for its quota",
        "timed_out": "true: the answer did not come in time",
        "status": "HTTP status of the error answer, if any; of a model's own error the model's, not the 424 around it",
        "given_up": "true: it ran beside another attempt (a hedge), which answered first, or the proxy ended",
        "upstream_request_id": "the target's own `x-amzn-RequestId` (engines: `X-Request-Id`), if any",
    }
)
MIGRATION_KEYS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "name": "the migration: a route's key, or a group's name",
        "step": "its step, from 1; 0 on the way back to the start",
        "to": "the target that it leads to",
        "share": "part of the keys that goes there, 0 to 1",
        "shadow": "part of the other requests that it gets copies of, 0 to 1",
        "bypassed": "true: a bypass sent everything to the old target",
    }
)

LONGEST_TEXT: Final = 2000
"""Characters of one text value; a longer one is cut, so that one request can't write an unbounded line."""
# DEL, C1 controls (terminals obey 0x9B as escape-bracket) and the line separators U+2028/9, which JSON leaves alone.
_SNEAKY: Final = re.compile(b"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")


def line(outcome: Outcome) -> bytes:
    """The log line of one request, with its line feed."""
    return written(entry(outcome))


def written(entry: dict[str, Any]) -> bytes:
    """A line, from what stands in it."""
    return _harmless(_dumped(entry)) + b"\n"


_LOGS: Final = MappingProxyType({WARM: "warm", SHADOW: "shadow"})
"""Operations that no client has asked for -> the word by which their lines are told from requests'."""
_MAYBE: Final = (
    "component",
    "error_type",
    "queue_seconds",
    "first_chunk_seconds",
    "first_chunk_backend_seconds",
    "owner",
    "prompt_tokens",
    "completion_tokens",
    "sdk_invocation_id",
    "trace_id",
    "handler_status",
    "principal",
    "cold",
    "side",
    "migration",
    "inner",
)
"""Keys that a line leaves out where there is nothing to say; then those of an attempt, and of a migration."""
_MAYBE_OF_ATTEMPT: Final = ("failure", "cold", "throttled", "timed_out", "status", "given_up", "upstream_request_id")
_MAYBE_OF_MIGRATION: Final = ("bypassed",)
_dumps: Final = orjson.dumps


def entry(outcome: Outcome) -> dict[str, Any]:
    """What stands in the line of one request, by the keys of KEYS."""
    usage = outcome.usage
    said = {
        "log": _LOGS.get(outcome.operation, "request"),
        "time": _time(outcome.started),
        "request_id": outcome.request_id,
        "endpoint": outcome.endpoint,
        "component": outcome.component,
        "operation": outcome.operation,
        "status": outcome.status,
        "error_type": outcome.error_type,
        "ended": outcome.ended,
        "seconds": _seconds(outcome.seconds),
        "backend_seconds": _seconds(outcome.backend_seconds),
        "queue_seconds": _seconds(outcome.queue_seconds) if outcome.queue_seconds else None,
        "overhead_seconds": _seconds(outcome.overhead_seconds),
        "first_chunk_seconds": _seconds(outcome.first_chunk_seconds),
        "first_chunk_backend_seconds": _seconds(outcome.first_chunk_backend_seconds),
        "attempts": [_attempt(attempt) for attempt in outcome.attempts],
        "bytes_in": outcome.bytes_in,
        "bytes_out": outcome.bytes_out,
        "parts_out": outcome.parts_out,
        "policy": outcome.policy,
        "why": outcome.why[:LONGEST_TEXT],
        "owner": outcome.owner,
        "prompt_tokens": usage.prompt_tokens if usage else None,
        "completion_tokens": usage.completion_tokens if usage else None,
        "sdk_invocation_id": outcome.sdk_invocation_id and outcome.sdk_invocation_id[:LONGEST_TEXT],
        "sdk_attempt": outcome.sdk_attempt,
        "trace_id": outcome.trace_id and outcome.trace_id[:LONGEST_TEXT],
        "handler_status": outcome.handler_status,
        "principal": outcome.principal and outcome.principal[:LONGEST_TEXT],
        "cold": outcome.cold,
        "side": outcome.side,
        "migration": None if outcome.migration is None else _place(outcome.migration),
        "inner": outcome.inner,
    }
    return _without_nothing(said, _MAYBE)


def _without_nothing(said: dict[str, Any], maybe: Iterable[str]) -> dict[str, Any]:
    """`said` itself, without those of the keys `maybe` under which nothing stands."""
    for key in maybe:
        value = said[key]
        if value is None or value is False:
            del said[key]
    return said


def read(text: bytes) -> Outcome | None:
    """The outcome that a log line tells of; None when `text` is no whole line of this log."""
    try:
        entry = orjson.loads(text)
        if entry["log"] not in {"request", *_LOGS.values()}:
            return None
        tokens = entry.get("prompt_tokens"), entry.get("completion_tokens")
        migration = entry.get("migration")
        found = Outcome(
            started=datetime.fromisoformat(entry["time"]).timestamp(),
            attempts=tuple(AttemptOutcome(**_known(attempt, ATTEMPT_KEYS)) for attempt in entry["attempts"]),
            usage=None if tokens == (None, None) else Usage(*tokens),
            migration=None if migration is None else Place(**({"bypassed": False} | _known(migration, MIGRATION_KEYS))),
            **(_NONE | _known(entry, _SAME)),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None
    return found if _sound(found) else None


def _known(entry: dict[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """What stands under these keys: a line lacks what it does not say, and one of an older version the newest."""
    return {key: entry[key] for key in keys if key in entry}


def _sound(found: Outcome) -> bool:
    """Whether the numbers are numbers, and texts text: anybody may write a line that looks like one of ours."""
    counts = found.seconds, found.backend_seconds, found.queue_seconds, *(each.seconds for each in found.attempts)
    shares = () if found.migration is None else (found.migration.share, found.migration.shadow)
    once = found.first_chunk_seconds, found.first_chunk_backend_seconds
    return (
        all(isinstance(each, int | float) for each in (*counts, *shares))
        and all(isinstance(each, int | float | None) for each in once)
        and all(
            isinstance(each, str | None) for each in (found.sdk_invocation_id, *(a.failure for a in found.attempts))
        )
    )


_SAME: Final = tuple(
    key
    for key in KEYS
    if key not in {"log", "time", "overhead_seconds", "attempts", "prompt_tokens", "completion_tokens", "migration"}
)
"""Keys that are fields of `Outcome` under the same name."""
_NONE: Final[dict[str, Any]] = dict.fromkeys(
    ("component", "error_type", "first_chunk_seconds", "first_chunk_backend_seconds")
)
"""Of these the ones that an `Outcome` has to be told, and a line may lack."""


def _dumped(value: Any) -> bytes:
    try:
        return _dumps(value)
    except TypeError:  # text from the wire with bytes that are not UTF-8, kept as lone surrogates
        return _dumps(_printable(value))


def _attempt(attempt: AttemptOutcome) -> dict[str, Any]:
    said = {
        "target": attempt.target,
        "kind": attempt.kind,
        "replica": attempt.replica,
        "seconds": _seconds(attempt.seconds),
        "failure": attempt.failure and attempt.failure[:LONGEST_TEXT],
        "cold": attempt.cold,
        "throttled": attempt.throttled,
        "timed_out": attempt.timed_out,
        "status": attempt.status,
        "given_up": attempt.given_up,
        "upstream_request_id": attempt.upstream_request_id and attempt.upstream_request_id[:LONGEST_TEXT],
    }
    return _without_nothing(said, _MAYBE_OF_ATTEMPT)


def _place(place: Place) -> dict[str, Any]:
    said = {
        "name": place.name,
        "step": place.step,
        "to": place.to,
        "share": place.share,
        "shadow": place.shadow,
        "bypassed": place.bypassed,
    }
    return _without_nothing(said, _MAYBE_OF_MIGRATION)


def _time(started: float) -> orjson.Fragment:
    second, micros = divmod(round(started * 1e6), 1_000_000)
    return orjson.Fragment(b'"%b.%06dZ"' % (until_second(second), micros))


def until_second(second: int) -> bytes:
    """A moment as lines say it, without what follows its seconds."""
    return datetime.fromtimestamp(second, UTC).isoformat()[:19].encode()


def _seconds(seconds: float | None) -> orjson.Fragment | None:
    return None if seconds is None or not math.isfinite(seconds) else orjson.Fragment(b"%.6f" % seconds)


def text_in_line(text: str) -> bytes:
    """One value as it stands in a line."""
    if text.isascii() and text.isprintable():
        return _dumps(text[:LONGEST_TEXT])
    return _harmless(_dumped(text[:LONGEST_TEXT]))


def _harmless(text: bytes) -> bytes:
    return text if text.isascii() and b"\x7f" not in text else _SNEAKY.sub(_escape, text)


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {key: _printable(item) for key, item in value.items()}
    return [_printable(item) for item in value] if isinstance(value, list) else value


def _escape(match: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(match[0].decode())
