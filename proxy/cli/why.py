"""`pointsman why REQUEST_ID`: find a request in the log and say where it went, how long each part took and why.

Reads the log line by line, so its size does not matter; a line that lacks the id is not even parsed. Where a file is
named, its rotated neighbours (FILE.1, FILE-20260101.gz, ...) are read as well, newest first.
"""

from __future__ import annotations

import argparse
import glob
import json
import shlex
import sys
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

from backends.outcome import AttemptOutcome, Outcome
from policies.migrating import Place
from policies.quantities import show_share
from warmers.packed import opened

from ..log_lines import read
from . import EXIT_FINDINGS, EXIT_OK, StartError

OK, CLIENT_GONE = 200, 499
UNREAD: Final = "unknown"
"""The operation of a request that was refused before it was looked at: callers without a key, bytes that are none."""

_LONGEST_LINE: Final = 1 << 20
"""Bytes read as one line; a request's line is far shorter, and a binary file must not fill the memory."""
_MARK: Final = b'{"log":"request"'


def configure(parser: argparse.ArgumentParser) -> None:
    """Teach `parser` this command's arguments."""
    parser.add_argument(
        "request_id",
        metavar="REQUEST_ID",
        help="x-amzn-RequestId of the answer (boto3: ResponseMetadata.RequestId); a trace id or an "
        "amz-sdk-invocation-id also does, and finds every request that carried it",
    )
    parser.add_argument(
        "--log",
        metavar="FILE",
        help="the request log, plain or .gz; rotated neighbours (FILE.1, FILE.2.gz, FILE-20260101) are read too; "
        "- or nothing: standard input, e.g. `kubectl logs POD | pointsman why REQUEST_ID`",
    )
    parser.add_argument("--json", action="store_true", help="print the log lines as they are")


def run(arguments: argparse.Namespace) -> int:
    """0: found and printed; 1: not found, with what to check on standard error."""
    wanted: str = arguments.request_id.strip()
    if not wanted:
        message = "the request id is empty; give the x-amzn-RequestId of the answer"
        raise StartError(message)
    search = Search(wanted)
    try:
        for source in _sources(arguments.log):
            for text, outcome in search.through(source):
                shown = text.decode("utf-8", "replace").rstrip("\n") if arguments.json else tell(outcome, arguments.log)
                print(shown)
            if search.certain:
                break
    except (OSError, EOFError, zlib.error) as error:
        if isinstance(error, BrokenPipeError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        message = (
            f"can't read the log {arguments.log}: {reason}; name the file that `pointsman serve --log FILE` writes"
        )
        raise StartError(message) from error
    if search.found:
        return EXIT_OK
    print(_not_found(search, arguments.log), file=sys.stderr)
    return EXIT_FINDINGS


class Search:
    """One look for an id through any number of logs."""

    def __init__(self, wanted: str) -> None:
        self.wanted = wanted
        self.lines = 0
        """Lines read that are not empty."""
        self.requests = False
        """A request's line was among them: this is the right log."""
        self.found = 0
        self.certain = False
        """The id was a request's own: there is no other."""

    def through(self, source: BinaryIO) -> Iterator[tuple[bytes, Outcome]]:
        """The lines of requests that carry the id, each with what it says.

        What stands before a line's first brace is left out: container runtimes put times and names there.
        """
        needle = json.dumps(self.wanted)[1:-1].encode()
        while raw := source.readline(_LONGEST_LINE):
            self.lines += raw != b"\n"
            begin = raw.find(_MARK)
            if begin < 0:
                continue
            self.requests = True
            text = raw[begin:]
            outcome = read(text) if needle in text else None
            if outcome is None:
                continue
            if self.wanted in (outcome.request_id, outcome.sdk_invocation_id, outcome.trace_id, *_upstream(outcome)):
                self.found += 1
                yield text, outcome
                if outcome.request_id == self.wanted and not outcome.inner:
                    self.certain = True  # what its handler asked for was over before it, and stands before it
                    return


def _upstream(outcome: Outcome) -> tuple[str | None, ...]:
    return tuple(attempt.upstream_request_id for attempt in outcome.attempts)


def tell(outcome: Outcome, log: str | None = None) -> str:
    """One request in words: a headline and one indented line for each thing to know.

    `log` is the file that was named, for the command that goes on from here.
    """
    return "\n".join(_clean(text) for text in _sentences(outcome, log))


def _sentences(outcome: Outcome, log: str | None) -> Iterator[str]:
    yield _headline(outcome)
    arrived = datetime.fromtimestamp(outcome.started, UTC).isoformat(" ", "milliseconds")
    yield f"  request    {outcome.request_id}, {arrived}"
    yield f"  ended      {_ending(outcome)}"
    yield f"  why        {outcome.why or 'no target was chosen'}; policy {outcome.policy or 'not reached'}"
    if outcome.migration is not None:
        yield f"  migration  {_migration(outcome.migration, outcome.side)}"
    for number, attempt in enumerate(outcome.attempts, 1):
        yield f"  attempt {number}  {_attempt(attempt)}"
    queued = f"{_duration(outcome.queue_seconds)} waiting for a place there, " if outcome.queue_seconds else ""
    yield (
        f"  time       {_duration(outcome.seconds)}: {_duration(outcome.backend_seconds)} waiting for targets, {queued}"
        f"{_duration(outcome.overhead_seconds)} in this hop"
    )
    if outcome.first_chunk_seconds is not None:
        yield (
            f"  stream     first piece after {_duration(outcome.first_chunk_seconds)}, of which "
            f"{_duration(outcome.first_chunk_backend_seconds or 0.0)} waiting for targets; "
            f"{outcome.parts_out} parts sent"
        )
    tokens = ""
    if outcome.usage is not None:
        tokens = f"; {outcome.usage.prompt_tokens} prompt and {outcome.usage.completion_tokens} generated tokens"
    yield f"  size       {outcome.bytes_in} bytes in, {outcome.bytes_out} bytes out{tokens}"
    if outcome.sdk_invocation_id is not None:
        call = outcome.sdk_invocation_id
        yield f"  client     try {outcome.sdk_attempt} of SDK call {call}; `{_again(call, log)}` tells of all"
    if outcome.trace_id is not None:
        yield f"  trace      {outcome.trace_id}"


def _headline(outcome: Outcome) -> str:
    if not outcome.endpoint and outcome.operation == UNREAD:
        return "A request of which nothing was read: neither its operation nor its endpoint"
    component = f", component {outcome.component}" if outcome.component else ""
    owner = f" (owner: {outcome.owner})" if outcome.owner else ""
    endpoint = f"endpoint {outcome.endpoint}" if outcome.endpoint else "an endpoint that the policy does not have"
    asked = ", asked for by the customer's code of the request that follows" if outcome.inner else ""
    return f"{outcome.operation} on {endpoint}{component}{owner}{asked}"


def _again(wanted: str, log: str | None) -> str:
    """The command that looks for another id in the same log, to be pasted: whatever stands in the id is one word."""
    words = ["pointsman", "why", wanted]
    return shlex.join(words if log is None or log == "-" else [*words, "--log", log])


def _migration(place: Place, side: str | None) -> str:
    meant = f"; this request was meant for {side}" if side is not None else ""
    if place.bypassed:
        return f"{place.name} is bypassed: nothing goes to {place.to}{meant}"
    at = f"at step {place.step}" if place.step else "on its way back"
    copies = f", copies of {show_share(place.shadow)}" if place.shadow else ""
    return f"{place.name} {at}: {show_share(place.share)} to {place.to}{copies}{meant}"


def _ending(outcome: Outcome) -> str:
    by = f" by {outcome.target}" if outcome.target else ""
    error = f"{outcome.status} {outcome.error_type or 'without an error type'}"
    if outcome.ended == "done":
        return f"answered {outcome.status}{by}"
    if outcome.ended == "client_gone":
        head = "before an answer" if outcome.status == CLIENT_GONE else f"while the answer{by} was being sent"
        return f"the client went away {head}"
    if outcome.ended == "refused":
        return f"refused: {error}"
    if outcome.status == OK:
        broke = "the deadline passed" if outcome.ended == "deadline" else "it broke off"
        return f"the stream{by} had begun (status 200), then {broke}; the client got {outcome.error_type or 'no end'}"
    if outcome.ended == "deadline":
        return f"the deadline passed: {error}"
    return f"failed: {error}"


def _attempt(attempt: AttemptOutcome) -> str:
    marks = {"no ready copy": attempt.cold, "throttled": attempt.throttled, "timed out": attempt.timed_out}
    said = [mark for mark, holds in marks.items() if holds]
    # What AWS answered in its own name is no word of the model's: the cause has that status, and its type.
    if attempt.status is not None and not (attempt.failure or "").startswith(f"answered {attempt.status} "):
        said.append(f"the model said {attempt.status}")
    result = "answered" if attempt.failure is None else f"failed: {attempt.failure}"
    notes = f" ({', '.join(said)})" if said else ""
    replica = f" replica {attempt.replica}" if attempt.replica else ""
    named = f"; there it is {attempt.upstream_request_id}" if attempt.upstream_request_id else ""
    return f"{attempt.target} ({attempt.kind}){replica}, {_duration(attempt.seconds)}, {result}{notes}{named}"


def _duration(seconds: float) -> str:
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} us"
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _clean(text: str) -> str:
    """Without control characters: a log must not be able to drive the terminal that shows it."""
    return "".join(letter if letter.isprintable() else f"\\u{ord(letter):04x}" for letter in text)


def _not_found(search: Search, log: str | None) -> str:
    where = "standard input" if log in (None, "-") else f"{log} and its rotated neighbours"
    if not search.lines:
        advice = "there was nothing to read: name the log with --log FILE, or pipe it in"
    elif not search.requests:
        advice = "none of them is a request's log line: is this what `pointsman serve` writes (--log)?"
    else:
        advice = (
            "check that it is the x-amzn-RequestId of the answer or of the target's, that the log reaches back that "
            "far, and whether another worker, pod or host served it"
        )
    return f"pointsman why: {search.wanted} is not in {where} ({search.lines} lines read); {advice}"


def _sources(path: str | None) -> Iterator[BinaryIO]:
    if path is None and sys.stdin.isatty():
        message = "no log to read; name one with --log FILE, or pipe it in: `cat FILE | pointsman why ID`"
        raise StartError(message)
    if path is None or path == "-":
        yield sys.stdin.buffer
        return
    log = Path(path)
    rotated = [file for file in log.parent.glob(f"{glob.escape(log.name)}[.-]*") if file.is_file()]
    rotated.sort(key=lambda file: file.stat().st_mtime, reverse=True)
    for file in [log, *rotated] if log.exists() or not rotated else rotated:
        with opened(file) as source:
            yield source
