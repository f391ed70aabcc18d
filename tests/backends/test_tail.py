"""The end of a stream: its mark, and the counts that stand before it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import Usage
from backends.errors import BackendError
from backends.tail import Tail, has_details, is_marked
from policies.table import Target, VllmSpec

TOLD = (
    b'data: {"id":"c","choices":[],"usage":{"prompt_tokens":7,"total_tokens":10,"completion_tokens":3}}\n\n'
    b"data: [DONE]\n\n"
)
"""The end of a stream of vLLM 0.32 with `include_usage`, shortened."""


def target(speaks: str) -> Target:
    return Target("t", "vllm", VllmSpec(("http://h",), "m"), speaks=speaks)


@given(st.lists(st.binary(max_size=3000), max_size=4), st.integers(1, 400))
def test_the_end_is_known_however_it_was_cut(before: list[bytes], size: int) -> None:
    """Whatever came before it, and in whatever pieces it comes."""
    tail = Tail(marked=True)
    for piece in [*before, *(TOLD[at : at + size] for at in range(0, len(TOLD), size))]:
        tail.feed(piece)
    tail.finish(target("openai-chat"))
    assert tail.usage == Usage(7, 3)


@pytest.mark.parametrize("marked", [True, False])
def test_only_a_stream_that_has_a_mark_is_broken_without_it(marked: bool) -> None:
    """Of others nothing is known but that they ended; nobody has told any counts."""
    tail = Tail(marked=marked)
    tail.feed(b"data: {}\n\n")
    if marked:
        with pytest.raises(BackendError, match=r"without \[DONE\]"):
            tail.finish(target("openai-chat"))
    else:
        tail.finish(target("opaque"))
    assert tail.usage is None


@given(st.lists(st.binary(max_size=3000), max_size=4), st.text(max_size=4000), st.integers(1, 400) | st.just(1 << 20))
def test_a_tgi_streams_counts_are_known_however_it_was_cut(before: list[bytes], text: str, size: int) -> None:
    """They stand behind the whole text, of which more may come than is kept."""
    details = {"finish_reason": "length", "generated_tokens": 3, "seed": None, "input_length": 7}
    event = {"index": 3, "token": {"id": 1, "text": "a"}, "generated_text": text, "details": details}
    told = b"\n\ndata:" + json.dumps(event).encode() + b"\n\n"
    tail = Tail(marked=False, details=True)
    for piece in [*before, *(told[at : at + size] for at in range(0, len(told), size))]:
        tail.feed(piece)
    tail.finish(target("tgi"))
    assert tail.usage == Usage(7, 3)


def test_a_long_stream_is_not_kept() -> None:
    """Of a stream that its client reads slowly 16 KiB are held here at the most, however long its pieces are."""
    tail = Tail(marked=False)
    for size in (100_000, 1000, 1, 2048) * 10:
        tail.feed(b"x" * size)
    assert 8 * 1000 < sum(map(len, tail._last)) <= 8 * 2048
    for _ in range(10_000):
        tail.feed(b"y")
    assert sum(map(len, tail._last)) <= 8 * 2048


@pytest.mark.parametrize(
    ("speaks", "content_type", "marked"),
    [
        ("openai-chat", "text/event-stream", True),
        ("openai-completions", "Text/Event-Stream; charset=utf-8", True),
        ("openai-chat", "application/json", False),
        ("openai-chat", None, False),
        ("tgi", "text/event-stream", False),
        ("opaque", "text/event-stream", False),
    ],
)
def test_what_is_declared_is_looked_for(speaks: str, content_type: str | None, marked: bool) -> None:
    """Events of OpenAI's dialects end with a mark; of other bodies nobody has said so."""
    assert is_marked(target(speaks), content_type) is marked
    assert has_details(target(speaks), content_type) is (speaks == "tgi")
