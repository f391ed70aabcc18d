"""What our processes tell each other survives the way."""

from __future__ import annotations

import orjson
import pytest

from proxy.workers.messages import (
    Accept,
    Answered,
    Begin,
    Changed,
    Counted,
    Drain,
    Facts,
    Failed,
    Kept,
    Legacy,
    Loading,
    Message,
    MessageError,
    NewPolicy,
    Question,
    Ready,
    Serving,
    Told,
    Unwanted,
    Verdict,
    Yours,
    decoded,
    encoded,
)

TOLD = Told("policy.yaml", "text: ü\n", {"chat.jinja": "{{ x }}"}, 3, "aaaaaaaaaaaa/3")
ALL: tuple[Message, ...] = (
    Begin(1, {"policy": "p", "port": 1, "state": None}, TOLD, 5, 6, None, 7, (8,)),
    Changed(["1f", "2e"]),
    Kept({"keys": "#\u00ff"}),
    Loading("the handler model.py"),
    Ready("aaaaaaaaaaaa/3"),
    Failed("no"),
    Accept(),
    NewPolicy(TOLD),
    Verdict(3, "aaaaaaaaaaaa/2", [("endpoints.a", 4, "no such target")]),
    Question(7, "POST", "/admin/x"),
    Answered(7, 200, {"rows": [1]}),
    Facts(0, 3, 2, 0.25, 1, 0, None, "{}"),
    Drain(),
    Legacy(3, -1, 9, 5, (4,)),
    Yours("{}"),
    Serving(),
    Unwanted(),
    Counted("{}"),
)


@pytest.mark.parametrize("message", ALL, ids=lambda message: type(message).__name__)
def test_a_message_comes_out_as_it_went_in(message: Message) -> None:
    """Except that JSON has no tuples."""
    assert decoded(encoded(message)) == (
        Verdict(3, "aaaaaaaaaaaa/2", [["endpoints.a", 4, "no such target"]])  # type: ignore[list-item]  # JSON's list
        if isinstance(message, Verdict)
        else message
    )


def test_what_a_newer_release_adds_is_ignored() -> None:
    """An upgrade's two ends are of different releases; what came later and an older one does not say has a default."""
    assert decoded(b'["Ready",{"label":"digest/1"}]') == Ready("digest/1", waits=False)
    assert decoded(b'["Legacy",{"listening":3,"admin":4,"generation":9,"replays":5,"more":true}]') == Legacy(3, 4, 9, 5)


def test_what_files_of_the_door_hold_is_in_nobodys_words() -> None:
    """A message may stand in a log by the name of its fields; secrets do not."""
    begin = Begin(1, {}, TOLD, 5, 6, kept={"tls_key": "PRIVATE"})
    assert decoded(encoded(begin)) == begin
    assert "PRIVATE" not in f"{begin}{Kept({'tls_key': 'PRIVATE'})}"


FIRST = {
    "Begin": {"number", "settings", "policy", "listening", "board"},
    "Ready": {"label"},
    "Failed": {"why"},
    "Accept": set[str](),
    "NewPolicy": {"policy"},
    "Verdict": {"generation", "label", "problems"},
    "Question": {"id", "method", "path"},
    "Answered": {"id", "status", "document"},
    "Facts": {"id", "connections", "in_flight", "loop_lag", "log_lost", "spans_lost", "problem", "meters"},
    "Drain": set[str](),
    "Legacy": {"listening", "admin", "generation"},
    "Yours": {"meters"},
    "Counted": {"meters"},
}
"""What the first version of each word consisted of; its readers want all of that, and pass over the rest."""


@pytest.mark.parametrize("message", ALL, ids=lambda message: type(message).__name__)
def test_the_first_version_of_a_word_is_understood_and_is_in_the_newest(message: Message) -> None:
    """Upgraded in either direction, and where a worker that crashed is started again from what is installed by then."""
    name, values = orjson.loads(encoded(message))
    if name in FIRST:
        assert set(values) >= FIRST[name]
        first = {key: value for key, value in values.items() if key in FIRST[name]}
        assert type(decoded(orjson.dumps([name, first]))) is type(message)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b'["Legacy",{"listening":3}]',
        b'["Surprise",{}]',
        b"\xff",
        b"3",
        orjson.dumps(["Begin", None]),
    ],
)
def test_something_else_is_no_message(data: bytes) -> None:
    """Garbage, unknown words and messages with something missing are refused, not half understood."""
    with pytest.raises(MessageError, match="not a message"):
        decoded(data)
