"""Parsers of a policy's values, of files, stores and messages of our own processes: torn, old or mistyped."""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

from backends.meters import Meters
from backends.state.places import checked
from backends.wire.capture import Capture, Payload, read_capture, write_capture
from backends.wire.dialects.templates import template_problem
from deploy.sbom import read_lock
from policies import addresses, quantities
from policies.calendar import open_spans, read_calendar, read_window
from policies.evidence import Evidence, Side
from policies.interpolate import substitute
from policies.load import load_policy
from policies.migration_state import Command, State, Verb
from policies.plan_copy import from_json, to_json
from policies.redaction import Redaction, pattern_problem
from policies.sessions import home, marked
from policies.table import Route
from proxy.cli.why import tell
from proxy.handlers.guest.frames import Malformed, encode, split
from proxy.handlers.guest.frames import read as read_frame
from proxy.log_lines import line, read
from proxy.workers.messages import (
    Accept,
    Answered,
    Begin,
    Facts,
    Loading,
    Message,
    MessageError,
    NewPolicy,
    Told,
    decoded,
    encoded,
)
from tests.outcomes import ANSWERED, attempt, outcome
from tests.policies.moves import plan
from warmers import memory, traces
from warmers.migrations import audit, report
from warmers.prices import read_prices

from .parser import LOOP, Parser, pick, text_of

ROOT = Path(__file__).parents[2]
AT = 1_795_262_400.0
POLICY = """
apiVersion: pointsman/v1
account: "123456789012"
targets:
  a: {kind: vllm, urls: ["http://127.0.0.1:1", "http://127.0.0.1:2"], model: m}
  b: {kind: endpoint, endpoint: e, region: us-east-1}
endpoints:
  e: {serve_from: a, owner: o}
"""
QUANTITIES: tuple[Callable[[str], object], ...] = (
    quantities.seconds,
    quantities.hold,
    quantities.kept,
    quantities.budget,
    quantities.idle_limit,
    quantities.silence,
    quantities.size,
    quantities.share,
    quantities.rate,
    quantities.duration_range,
)


def _quantity(data: bytes) -> None:
    refusals = 0
    for each in QUANTITIES:
        try:
            each(text_of(data))
        except ValueError:
            refusals += 1
    if refusals == len(QUANTITIES):
        raise ValueError


def _calendar(data: bytes) -> None:
    for reader in (read_calendar, read_window):
        for begin, end in open_spans(reader(text_of(data)), AT, AT + 1e6):
            assert AT <= begin < end <= AT + 1e6


def _address(data: bytes) -> None:
    text = text_of(data)
    if addresses.url_refusal(text) is None:
        addresses.host_and_port(text)
        addresses.is_aws(text)
        addresses.region_of(text)
    for refusal in (
        addresses.imported_model_refusal,
        addresses.role_refusal,
        addresses.guardrail_refusal,
        addresses.instance_refusal,
        addresses.units_version_refusal,
    ):
        refusal(text)
    checked(text)


def _reference(data: bytes) -> None:
    substitute(text_of(data), {"HOME": "h", "EMPTY": ""})


def _cut(text: bytes) -> bytes:
    """Enough of a file for each of its kinds of lines."""
    return text[:600].rpartition(b"\n")[0]


@cache
def route() -> Route:
    """One with two places."""
    return load_policy(POLICY, {}).routes["e", None]


def _session(data: bytes) -> None:
    found = home(route(), text_of(data))
    target = route().targets[0]
    tagged = marked(route(), target, 1, text_of(data))
    again = home(route(), tagged.partition(";")[0])
    assert found is None or found.session_id
    assert again is None or (again.target, again.replica) == (target, 1) or tagged == text_of(data)


RULES = (Redaction(), Redaction(frozenset({"content"}), (r"\d{4}",)), Redaction(mask=True))


def _redacted(data: bytes) -> None:
    pick(RULES, data).body(data).encode("utf-8", "surrogatepass")


def _pattern(data: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of sets that later versions of Python may read otherwise
        pattern_problem(text_of(data))


def _template(data: bytes) -> None:
    template_problem(data.decode("utf-8", "replace"))


def _log_line(data: bytes) -> None:
    found = read(data)
    if found is None:
        raise ValueError
    tell(found)


def _capture(data: bytes) -> None:
    found = read_capture(data)
    if found is None:
        raise ValueError
    write_capture(found)


def _trace(data: bytes) -> None:
    kind = traces._kind(text_of(data))
    first, _, rest = text_of(data).partition("\n")
    for reader in traces._READERS.values() if kind is None else (traces._READERS[kind],):
        list(traces._located(Path("t"), enumerate((first, *rest.split("\n"))), reader))


def _evidence(data: bytes) -> None:
    Evidence.from_json(json.loads(data))


def _frame(data: bytes) -> None:
    async def fed() -> None:
        reader = asyncio.StreamReader(loop=LOOP)
        reader.feed_data(data)
        reader.feed_eof()
        while True:
            head, body = await read_frame(reader)
            sizes = head.get("sizes")
            if isinstance(sizes, list) and all(isinstance(size, int) for size in sizes):
                split(body, sizes)

    running = fed()
    try:
        running.send(None)
    except StopIteration:
        return
    finally:
        running.close()


def _meters(data: bytes) -> None:
    Meters.restore(data)


def _told(data: bytes) -> None:
    for reader in (memory.read, report.read):
        reader(data)
    for raiser in (State.from_json, Command.from_json, audit.decision):
        try:
            raiser(data)
        except ValueError:
            continue


TOLD = Told("policy.yaml", POLICY, {"a": "b"}, 1, "d/1")
MESSAGES: tuple[Message, ...] = (
    Begin(0, {"port": 1}, TOLD, 3, 4, None),
    Loading("model.py"),
    Accept(),
    NewPolicy(TOLD),
    Answered(1, 200, {}),
    Facts(0, 1, 2, 0.1, 0, 0, None, None),
)
TOLD_EACH_OTHER = tuple(encoded(message) for message in MESSAGES)
COMMAND = Command("start-1", Verb.START, "why", "ann", AT)
CAPTURE = Capture("e", "i", AT, Payload("application/json", "{}"), Payload("text/plain", "x"), {"side": "new"})
METERS = Meters()
METERS.record(ANSWERED)
METERS.record(outcome(attempts=(attempt(failure="x"),)))
METERS.settle()
STATE = State.planned(plan())
DECISION = {
    "migration": "x", "event": "started", "at": AT, "who": "ann", "why": "w", "before": 0.0, "after": 0.1, "step": 0,
    "version": 1, "window": "0.0", "command": "start-1", "alert": False,
}  # fmt: skip
EVIDENCE = Evidence(Side(10, 1, 0, {3: 9}, {2: 9}), Side(), None, (AT, 0.9, 1.1), AT, frozenset({5, 9}))
PRICES = b"""apiVersion: pointsman-prices/v1
date: 2026-07-20
months: {instance_hours: 730, window_days: 30}
sources: {a: b}
imports: {storage_per_unit_month: {usd: 1.95, source: a}, per_unit_minute: {us-east-1: {v1.0: {usd: 0.1, source: a}}}}
instances: {us-east-1: {ml.g5.xlarge: {usd: 1, basis: published, source: a}}}
"""
TRACES = (
    b"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10",
    b"model,client,t,rate,cv,pattern,shape,scale\nm,c,0,1.5,1,Gamma,0.5,1",
    b"time,model,requests\n2026-11-21T12:00:00,m,5",
    b'{"timestamp": 0, "input_length": 5}',
    write_capture(CAPTURE),
    line(ANSWERED),
)

FILES = (
    Parser(
        "quantity",
        _quantity,
        (
            b"60s",
            b"1h30m",
            b"14d after 100%",
            b"40 USD/day",
            b"measured",
            b"p95",
            b"25MiB",
            b"0.5%",
            b"100k/min",
            b"60s..5m",
        ),
        (ValueError,),
    ),
    Parser(
        "calendar",
        _calendar,
        (b"Mon-Fri 06:00-20:00 America/New_York", b"Fri 16:00 - Mon 08:00 Europe/Berlin; 22:00-06:00 UTC"),
        (ValueError,),
    ),
    Parser(
        "address",
        _address,
        (
            b"https://runtime.sagemaker.us-east-1.amazonaws.com:443/x",
            b"http://[::1]:8080",
            b"valkeys://user:secret@host:6379/0?prefix=a",
            b"s3://bucket/prefix",
            b"sqlite:/a/b%20c.db",
            b"arn:aws:bedrock:us-east-1:123456789012:imported-model/abcdefghij01",
            b"arn:aws:iam::123456789012:role/x",
        ),
        (ValueError,),
    ),
    Parser("environment's reference", _reference, (b"a${HOME}b${MISSING:-x}$${", b"${EMPTY:-}")),
    Parser("session id", _session, (b"abc-1-pm0123456789ab", b"abc; Expires=2026-11-21T12:00:00Z")),
    Parser("redaction", _redacted, (b'{"messages": [{"content": "1234 5678", "n": 12345}]}', *TRACES), json=True),
    Parser(
        "pattern of a redaction",
        _pattern,
        (rb"\b\d{4}[- ]?\d{4}\b", rb"(?i)sk-[a-z0-9]{8,}(?:x|y)+"),
        (RecursionError,),
    ),
    Parser(
        "chat template",
        _template,
        (
            b"{% for m in messages %}{{ m['role'] }}: {{ m.content | trim }}\n{% endfor %}",
            b"{{ bos_token }}{% if add_generation_prompt %}{{ raise_exception('no') }}{% endif %}{{ 10 ** 3 }}",
        ),
    ),
    Parser(
        "log line",
        _log_line,
        (line(ANSWERED), line(outcome(attempts=(attempt(failure="x", status=500),)))),
        (ValueError,),
        json=True,
    ),
    Parser("captured line", _capture, (write_capture(CAPTURE),), (ValueError,), json=True),
    Parser("trace of arrivals", _trace, TRACES, (ValueError,)),
    Parser("prices", lambda data: read_prices(text_of(data), "p"), (PRICES,), (ValueError,)),
    Parser("plans of migrations, copied", from_json, (to_json([plan()]),), (ValueError,), json=True),
    Parser("evidence of a migration", _evidence, (json.dumps(EVIDENCE.to_json()).encode(),), (ValueError,), json=True),
    Parser("what a store keeps", _told, (STATE.to_json(), COMMAND.to_json(), json.dumps(DECISION).encode()), json=True),
    Parser("snapshot of meters", _meters, (METERS.snapshot(),), (ValueError,), json=True),
    Parser("message among workers", decoded, TOLD_EACH_OTHER, (MessageError,), json=True),
    Parser(
        "message of a handler's process",
        _frame,
        (encode({"sizes": [1, 2]}, b"a", b"bc"), encode({}) * 2),
        (Malformed, asyncio.IncompleteReadError),
    ),
    Parser(
        "lock file",
        lambda data: list(read_lock(text_of(data))),
        (_cut((ROOT / "requirements.lock").read_bytes()),),
        (ValueError,),
    ),
)
