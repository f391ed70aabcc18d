"""Streams read strictly, event by event."""

from __future__ import annotations

import json
from typing import Any

import pytest

from backends.wire.dialects import DialectError, Wrong
from backends.wire.dialects.answers import read_answer
from backends.wire.dialects.pieces import PieceReader
from backends.wire.dialects.values import Counts, Finish, Piece
from tests.backends.wire.dialects.vectors import STREAMS, WHOLE, events, recorded

NOTHING: frozenset[str] = frozenset()


def read(dialect: str, body: bytes, drop: frozenset[str] = NOTHING) -> tuple[list[Piece], PieceReader]:
    reader = PieceReader(dialect, drop)
    pieces = [piece for one in events(body) for piece in reader.read(_data(one))]
    reader.end()
    return pieces, reader


def _data(event: Any) -> bytes:
    return event.encode() if isinstance(event, str) else json.dumps(event).encode()


def wrong(dialect: str, *documents: Any) -> Wrong:
    with pytest.raises(DialectError) as caught:
        read_all(PieceReader(dialect, NOTHING), documents)
    return caught.value.wrong


def read_all(reader: PieceReader, documents: tuple[Any, ...]) -> None:
    for document in documents:
        reader.read(_data(document))
    reader.end()


@pytest.mark.parametrize("dialect", sorted(STREAMS))
def test_the_pieces_of_a_stream_are_its_whole_answer(dialect: str) -> None:
    """Texts joined, the finish reason and the counts are those of the same answer given whole."""
    pieces, reader = read(dialect, STREAMS[dialect][1])
    whole = read_answer(dialect, WHOLE[dialect], NOTHING)
    assert "".join(piece.text for piece in pieces) == whole.pieces[0].text
    assert pieces[-1].finish is whole.pieces[0].finish is Finish.LENGTH
    assert [piece.finish for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
    assert reader.counts.completion == whole.counts.completion
    assert reader.counts.prompt == (3 if dialect == "tgi" else whole.counts.prompt)


@pytest.mark.parametrize("dialect", ["openai-chat", "openai-completions"])
def test_choices_of_vllm_are_kept_apart(dialect: str) -> None:
    """Each piece has its index, and the stream ends when every choice has."""
    pieces, reader = read(dialect, recorded(dialect)["n stream"].body)
    assert {piece.index for piece in pieces} == {0, 1}
    assert reader.stamp is not None
    assert reader.stamp.model == "tiny"


def test_tokens_of_vllm_have_ids_and_probabilities() -> None:
    """With `return_token_ids` and `logprobs` every piece says its tokens."""
    pieces, _ = read("openai-completions", recorded("openai-completions")["logprobs stream"].body)
    assert [(token.id, token.text) for piece in pieces for token in piece.tokens] == [
        (304, "OP"),
        (14, ","),
        (304, "OP"),
    ]


@pytest.mark.parametrize(("name", "key"), [("tool call stream", "tool_calls"), ("reasoning stream", "reasoning")])
def test_what_a_prompt_has_no_place_for_breaks_the_stream(name: str, key: str) -> None:
    """vLLM's streamed tool calls and reasoning refuse the answer, unless the policy drops them."""
    body = recorded("openai-chat")[name].body
    with pytest.raises(DialectError) as caught:
        read("openai-chat", body)
    assert caught.value.wrong is Wrong.LOST
    pieces, _ = read("openai-chat", body, frozenset({key}))
    assert pieces[-1].finish is not None


@pytest.mark.parametrize("dialect", sorted(STREAMS))
def test_a_stream_that_stops_early_is_not_finished(dialect: str) -> None:
    """Without the model's own end the answer is broken, however properly the connection was closed."""
    documents = events(STREAMS[dialect][1])
    assert wrong(dialect, documents[0]) is Wrong.ANSWER
    assert wrong(dialect) is Wrong.ANSWER


@pytest.mark.parametrize(
    ("dialect", "document"),
    [
        ("openai-chat", 5),
        ("openai-chat", {}),
        ("openai-chat", {"choices": [5]}),
        ("openai-chat", {"choices": [{"index": 0, "text": "x"}]}),
        ("openai-chat", {"choices": [{"delta": {"content": "x"}}]}),
        ("openai-completions", {"choices": [{"index": 0, "text": 5}]}),
        ("bedrock-completion", {"generation": None}),
        ("bedrock-completion", {"generation": "x", "stop_reason": "bored"}),
        ("tgi", {"token": None}),
        ("tgi", {"generated_text": "x", "details": None, "token": {"id": 1, "text": "x", "logprob": 0}}),
        ("lmi", {"outputs": ["x"]}),
        ("tgi", "[DONE]"),
    ],
)
def test_events_of_another_form_are_an_error(dialect: str, document: Any) -> None:
    """Nothing is skipped because it is not understood."""
    assert wrong(dialect, document) is Wrong.ANSWER


def test_nothing_comes_after_the_end() -> None:
    """An event behind `[DONE]` is no part of the answer."""
    first = events(STREAMS["openai-completions"][1])[0]
    assert wrong("openai-completions", first, "[DONE]", first) is Wrong.ANSWER


@pytest.mark.parametrize(
    ("dialect", "document"),
    [
        ("openai-chat", {"error": {"message": "boom", "code": 500}}),
        ("tgi", {"error": "boom", "error_type": "generation"}),
        ("lmi", {"token": {"id": -1, "text": "", "log_prob": -1, "special_token": True}, "generated_text": "",
                 "details": {"finish_reason": "error", "generated_tokens": None, "inputs": None}}),
        ("openai-completions", {"choices": [{"index": 0, "text": "", "finish_reason": "abort"}]}),
    ],
)  # fmt: skip
def test_an_error_inside_a_stream_is_the_models(dialect: str, document: Any) -> None:
    """Every engine's way to say that it failed on the way."""
    assert wrong(dialect, document) is Wrong.MODEL


def test_a_special_token_is_no_text() -> None:
    """TGI streams the end of the sequence as a token, and leaves it out of the generated text."""
    end = {"index": 2, "token": {"id": 2, "text": "</s>", "logprob": -0.1, "special": True}, "generated_text": "Hi",
           "details": {"finish_reason": "eos_token", "generated_tokens": 2, "seed": None}}  # fmt: skip
    reader = PieceReader("tgi", NOTHING)
    (piece,) = reader.read(_data(end))
    assert (piece.text, piece.finish, piece.tokens[0].text) == ("", Finish.END, "</s>")
    assert reader.counts == Counts(None, 2)
