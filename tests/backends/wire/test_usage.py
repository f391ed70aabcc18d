"""Token counts in small JSON answers."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import Reply, Usage
from backends.wire.restjson import read_count
from backends.wire.usage import LIMIT, counted, details_of, uncounted, usage_at_end, usage_of

JSON = "application/json"
COUNTED = b'{"choices": [], "usage": {"prompt_tokens": 7, "total_tokens": 10, "completion_tokens": 3}}'


def found(content_type: str | None, body: bytes) -> Usage | None:
    """What is read of an answer's body, once anybody asks."""
    return counted(Reply(body, content_type=content_type, uncounted=uncounted(content_type, body)))


@pytest.mark.parametrize("content_type", [JSON, "Application/JSON; charset=utf-8"])
def test_counts_are_read(content_type: str) -> None:
    """An OpenAI answer's counts are found."""
    assert found(content_type, COUNTED) == Usage(7, 3)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (None, COUNTED),
        ("text/event-stream", b"data: " + COUNTED),
        (JSON, b""),
        (JSON, b'{"usage"'),
        (JSON, b'["usage"]'),
        (JSON, b'{"usage": [1]}'),
        (JSON, b'{"usage": {"prompt_tokens": 7}}'),
        (JSON, b'{"usage": {"prompt_tokens": 7, "completion_tokens": -1}}'),
        (JSON, b'{"usage": {"prompt_tokens": true, "completion_tokens": 1}}'),
        (JSON, b'{"text": "x"}'),
        (JSON, COUNTED + b" " * LIMIT),
    ],
)
def test_other_bodies_have_no_counts(content_type: str | None, body: bytes) -> None:
    """What is no small JSON object with both counts gives none, and no error."""
    assert found(content_type, body) is None


def test_a_body_of_the_limit_is_read() -> None:
    """The limit itself is still parsed."""
    assert found(JSON, COUNTED + b" " * (LIMIT - len(COUNTED))) == Usage(7, 3)


def test_what_is_null_may_follow_the_counts() -> None:
    """vLLM has such members behind them; the body before them is not parsed for it."""
    assert usage_of(b'{broken "x", ' + COUNTED[15:-1] + b', "prompt_logprobs": null,"kv": null}') == Usage(7, 3)


COUNTS: st.SearchStrategy[object] = st.one_of(
    st.integers(-2, 10**16), st.sampled_from([None, True, 1.5, 1e30, "7", [], {}])
)
MEMBERS = st.dictionaries(
    st.sampled_from(["prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "x"]), COUNTS
)


@given(
    st.permutations([("prompt_tokens", 7), ("completion_tokens", 3), ("total_tokens", 10)]),
    MEMBERS,
    st.lists(st.sampled_from([("usage", None), ("a", None), ("b", 1), ("c", {}), ("D", None)]), max_size=3),
    st.sampled_from([(",", ":"), (", ", ": "), (" ,", " :")]),
    st.sampled_from([None, 1]),
    st.booleans(),
)
def test_counts_are_those_of_the_document(
    order: list[tuple[str, int]],
    members: dict[str, object],
    behind: list[tuple[str, object]],
    separators: tuple[str, str],
    indent: int | None,
    usual: bool,
) -> None:
    """Wherever they stand and whatever stands with them, what is found quickly is what parsing finds."""
    counts = dict(order) | (members if not usual else {})
    document = {"text": 'a "usage": {"prompt_tokens":1,"completion_tokens":1}}', "usage": counts} | dict(behind)
    told = document["usage"]
    prompt, completion = (
        (read_count(told.get("prompt_tokens")), read_count(told.get("completion_tokens")))
        if isinstance(told, dict)
        else (None, None)
    )
    expected = None if prompt is None or completion is None else Usage(prompt, completion)
    assert usage_of(json.dumps(document, separators=separators, indent=indent).encode()) == expected


def test_counts_in_the_body_go_before_those_beside_it() -> None:
    """What the target said in a header holds only where its body says nothing."""
    beside = Usage(1, 1)
    assert counted(Reply(COUNTED, usage=beside, uncounted=COUNTED)) == Usage(7, 3)
    assert counted(Reply(b"{}", usage=beside, uncounted=b"{}")) == beside
    assert counted(Reply(COUNTED, usage=beside)) == beside


CHUNK = b'data: {"choices":[{"delta":{"content":"a"}}],"usage":%s}\n\n'
SEVEN = b'{"prompt_tokens":7,"completion_tokens":3}'


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (b"", None),
        (b'"usage"', None),
        (CHUNK % b"null" + b"data: [DONE]\n\n", None),
        (CHUNK % b"null" + CHUNK % SEVEN + b"data: [DONE]\n\n", Usage(7, 3)),
        (CHUNK % b'{"prompt_tokens":7,"completion_tokens":1}' + CHUNK % SEVEN, Usage(7, 3)),
        ((CHUNK % SEVEN)[30:] + b"data: [DONE]", Usage(7, 3)),
        ((CHUNK % SEVEN).replace(b"\n\n", b"\r\n\r\n"), Usage(7, 3)),
        ((CHUNK % SEVEN).replace(b"data: ", b"data:").strip(), Usage(7, 3)),
        ((CHUNK % SEVEN)[:-5], None),
        (b'data: {"choices":[{"delta":{"content":"\\"usage\\":' + SEVEN + b'"}}]}\n\n', None),
        (
            b'data: {"usage":{"prompt_tokens":7,"completion_tokens":3,"completion_tokens_details":{"a":1}}}\n\n',
            Usage(7, 3),
        ),
        (b"event: end\ndata: " + b'{"usage":' + SEVEN + b"}\nid: 1\n\n", Usage(7, 3)),
        (CHUNK % SEVEN + CHUNK % b"null" + b'data: {"x":{"usage":1}}\n\ndata: [DONE]\n\n', Usage(7, 3)),
        (
            b'data: {"x":"data: y","usage":{"prompt_tokens":7,"completion_tokens":3,"details":{"a":1}},"b":"c"}\n\n',
            Usage(7, 3),
        ),
    ],
    ids=[
        *("empty", "no event", "null", "last", "each", "cut off", "line ends", "no blank", "unfinished", "quoted"),
        *("details", "other fields", "none behind them", "text like a field"),
    ],
)
def test_a_streams_counts_are_those_told_last(events: bytes, expected: Usage | None) -> None:
    """Engines tell them behind the text, or with each piece of it; a model that writes of `"usage"` tells none."""
    assert usage_at_end(events) == expected


TOKEN = b'data:{"index":1,"token":{"id":1,"text":"a"},"generated_text":null,"details":null}\n\n'
LAST = b'data:{"index":2,"token":{"id":2},"generated_text":%s,"details":%s}\n\n'
GENERATED = b'{"finish_reason":"length","generated_tokens":3,"seed":null,"input_length":7}'


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (b"", None),
        (b'"details"', None),
        (TOKEN, None),
        (TOKEN + LAST % (b'"ab"', GENERATED), Usage(7, 3)),
        ((LAST % (b'"ab"', GENERATED))[40:], Usage(7, 3)),
        ((LAST % (b'"ab"', GENERATED)).replace(b"\n\n", b"\r\n\r\n"), Usage(7, 3)),
        ((LAST % (b'"ab"', GENERATED))[:-5], None),
        (LAST % (b'"ab"', b'{"generated_tokens":3}'), None),
        (LAST % (b'"ab"', b'{"generated_tokens":3,"prefill":[{"id":1},{"id":2}]}'), Usage(2, 3)),
        (LAST % (b'"ab"', b'{"generated_tokens":3,"prefill":[],"input_length":7}'), Usage(7, 3)),
        (LAST % (b'"ab"', b'[{"generated_tokens":3,"input_length":7}]'), None),
        (LAST % (b'"\\"details\\":{\\"generated_tokens\\":1,\\"input_length\\":1}}"', b"null"), None),
        (b'data:{"usage":' + SEVEN + b"}\n\n", None),
    ],
    ids=[
        *("empty", "no event", "null", "last", "cut off", "line ends", "unfinished", "no prompt", "prefill"),
        *("no prefill", "list", "quoted", "another's"),
    ],
)
def test_a_tgi_streams_counts_are_those_of_its_last_event(events: bytes, expected: Usage | None) -> None:
    """Older releases count no prompt; a model that writes of `"details"` tells nothing."""
    assert usage_at_end(events, details=True) == expected


@given(
    st.permutations([("finish_reason", "length"), ("generated_tokens", 3), ("seed", None), ("input_length", 7)]),
    st.dictionaries(st.sampled_from(["generated_tokens", "input_length", "prefill", "inputs", "x"]), COUNTS),
    st.lists(st.sampled_from([("details", None), ("top_tokens", None), ("b", 1), ("c", {}), ("D", None)]), max_size=3),
    st.sampled_from([(",", ":"), (", ", ": "), (" ,", " :")]),
    st.booleans(),
)
def test_details_are_those_of_the_document(
    order: list[tuple[str, object]],
    members: dict[str, object],
    behind: list[tuple[str, object]],
    separators: tuple[str, str],
    usual: bool,
) -> None:
    """Wherever they stand and whatever stands with them, what is found quickly is what parsing finds."""
    details = dict(order) | (members if not usual else {})
    text = 'a "details": {"generated_tokens":1,"input_length":1}}'
    document = {"token": {"details": {}}, "generated_text": text, "details": details} | dict(behind)
    told, expected = document["details"], None
    if isinstance(told, dict):
        prompt, completion = read_count(told["input_length"]), read_count(told["generated_tokens"])
        expected = None if prompt is None or completion is None else Usage(prompt, completion)
    assert details_of(json.dumps(document, separators=separators).encode()) == expected
