"""Streams from one dialect to another: whatever the cuts, whatever the stop strings, the same text."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import Usage
from backends.wire.dialects import DialectError
from backends.wire.dialects.streams import Trim, data_of, trimmed
from backends.wire.dialects.values import Finish, Piece
from tests.backends.wire.dialects.vectors import (
    PAIRS,
    STREAMS,
    WHOLE,
    answered,
    events,
    exchange,
    text_of,
    through,
    with_parameters,
)
from tests.policies.written import PATIENT

CUTS = st.lists(st.integers(0, 100_000), max_size=12)


@pytest.mark.parametrize(("client", "target"), PAIRS)
def test_a_stream_says_what_the_whole_answer_says(client: str, target: str) -> None:
    """The texts of a translated stream joined are the text of the translated whole answer."""
    content_type, body = STREAMS[target]
    one = exchange(client, target, with_parameters(client, stream=True))
    streamed = answered(one, body, content_type)
    whole = answered(exchange(client, target), WHOLE[target])
    assert text_of(client, streamed, streamed=True) == text_of(client, whole, streamed=False) != ""
    assert streamed.endswith(b"\n")


@PATIENT
@given(st.sampled_from(PAIRS), CUTS)
def test_the_cuts_on_the_way_in_change_nothing(ends: tuple[str, str], cuts: list[int]) -> None:
    """What comes out does not depend on how TCP delivered what went in."""
    client, target = ends
    content_type, body = STREAMS[target]
    one = exchange(client, target, with_parameters(client, stream=True))
    assert through(one.answer(content_type)[0], body, *cuts) == through(one.answer(content_type)[0], body)


@pytest.mark.parametrize(("client", "target"), PAIRS)
def test_every_event_of_the_target_is_told_at_once(client: str, target: str) -> None:
    """Nothing is held back but the last token: text fed so far is text out, up to the last piece."""
    content_type, body = STREAMS[target]
    translator, _ = exchange(client, target, with_parameters(client, stream=True)).answer(content_type)
    end = b"\n" if target == "lmi" else b"\n\n"
    units = [unit + end for unit in body.split(end) if unit.strip()]
    told = [bool(translator.feed(unit)) for unit in units]
    texts = [bool(unit_text(target, unit)) for unit in units]
    last = max(place for place, has in enumerate(texts) if has)
    assert [told[place] for place in range(last) if texts[place]] == [True] * sum(texts[:last])


def unit_text(target: str, unit: bytes) -> str:
    (document,) = events(unit)
    return "" if document == "[DONE]" else text_of(target, unit, streamed=True)


def test_usage_is_known_at_the_end() -> None:
    """The counts that a stream told are there for the record."""
    content_type, body = STREAMS["openai-chat"]
    translator, _ = exchange("tgi", "openai-chat", with_parameters("tgi", stream=True)).answer(content_type)
    through(translator, body)
    assert translator.usage == Usage(21, 8)


@pytest.mark.parametrize(("client", "target"), PAIRS)
@pytest.mark.parametrize("inside", [False, True])
def test_a_stream_that_breaks_off_ends_in_an_error(client: str, target: str, inside: bool) -> None:
    """A proper end of the connection does not make a broken answer whole, inside an event or between two."""
    content_type, body = STREAMS[target]
    translator, _ = exchange(client, target, with_parameters(client, stream=True)).answer(content_type)
    end = b"\n" if target == "lmi" else b"\n\n"
    cut = body.index(end) + len(end) - (9 if inside else 0)
    with pytest.raises(DialectError):
        through(translator, body[:cut])


@pytest.mark.parametrize(
    ("unit", "data"),
    [
        (b"data: {}\n\n", b"{}"),
        (b"data:{}\n\n", b"{}"),
        (b"event: x\r\nid: 1\r\ndata: {}\r\n\r\n", b"{}"),
        (b"data: {\ndata: }\n\n", b"{\n}"),
        (b": ping\n\n", b""),
        (b"\n", b""),
        (b"retry: 5\n\n", b""),
        (b"{}\n", b"{}"),
        (b"data: [DONE]\r\r", b"[DONE]"),
    ],
)
def test_the_data_of_an_event(unit: bytes, data: bytes) -> None:
    """Server-Sent Events as the WHATWG specification says, and JSON lines."""
    assert data_of(unit) == data


def spread(text: str, cuts: list[int], finish: Finish) -> list[Piece]:
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    texts = [text[begin:end] for begin, end in pairwise(places)]
    return [*(Piece(part) for part in texts[:-1]), Piece(texts[-1], finish=finish)]


@PATIENT
@given(
    st.text("abé", max_size=12), st.text("ab", min_size=1, max_size=4), st.lists(st.integers(0, 99), max_size=6),
    st.sampled_from([Finish.STOP, Finish.END, Finish.LENGTH]),
)  # fmt: skip
def test_a_stop_string_is_cut_off_wherever_it_is_spread(text: str, stop: str, cuts: list[int], finish: Finish) -> None:
    """Cut off at the end of a text that it ended, left alone in one that it did not end."""
    said = text + stop if finish is Finish.STOP else text
    trim = Trim((stop,))
    out = [trim.feed(piece) for piece in spread(said, cuts, finish)]
    assert "".join(piece.text for piece in out) == text
    assert trimmed(Piece(said, finish=finish), (stop,)).text == text
    assert out[-1].stop == (stop if finish is Finish.STOP else None)


def test_only_what_may_be_a_stop_string_is_held_back() -> None:
    """Text that cannot begin a stop string goes out at once."""
    trim = Trim(("\nUser:", "END"))
    assert trim.feed(Piece("Hello")).text == "Hello"
    assert trim.feed(Piece(" \nUs")).text == " "
    assert trim.feed(Piece("ing")).text == "\nUsing"


def test_a_tgi_targets_stop_string_is_cut_from_its_stream() -> None:
    """An OpenAI client of a TGI target never sees it, in streams and in whole answers."""
    tokens = [
        {"id": place, "text": text, "logprob": -0.5, "special": False}
        for place, text in enumerate(("Hi", "E", "N", "D"))
    ]
    details = {"finish_reason": "stop_sequence", "generated_tokens": 4, "seed": None}
    parts = [
        {"token": token, "generated_text": "HiEND" if token["text"] == "D" else None,
         "details": details if token["text"] == "D" else None}
        for token in tokens
    ]  # fmt: skip
    body = b"".join(b"data:" + json.dumps(part).encode() + b"\n\n" for part in parts)
    request = with_parameters("openai-chat", stream=True, stop=["END"])
    streamed = answered(exchange("openai-chat", "tgi", request), body, "text/event-stream")
    assert text_of("openai-chat", streamed, streamed=True) == "Hi"
    assert events(streamed)[-2]["choices"][0]["stop_reason"] == "END"
    whole = json.dumps([{"generated_text": "HiEND", "details": {**details, "tokens": [], "prefill": []}}]).encode()
    request = with_parameters("openai-chat", stop=["END"])
    assert text_of("openai-chat", answered(exchange("openai-chat", "tgi", request), whole), streamed=False) == "Hi"
