"""Streams written as each dialect's own engine would."""

from __future__ import annotations

from typing import Any

import pytest

from backends.wire.dialects import DialectError, Wrong
from backends.wire.dialects.events import writer
from backends.wire.dialects.values import Alternative, Counts, Finish, Piece, Token, Wish
from tests.backends.wire.dialects.vectors import STAMP, events

HEL, LO = Token("Hel", -0.5, 5), Token("lo", -0.25, 6)
PIECES = (Piece("Hel", tokens=(HEL,)), Piece("lo", tokens=(LO,), finish=Finish.LENGTH))


def raw(client: str, *pieces: Piece, wish: Wish | None = None, counts: Counts | None = None) -> bytes:
    one = writer(client, wish or Wish(streams=True))
    parts = [part for piece in pieces for part in one.piece(piece, STAMP)]
    return b"".join([*parts, *one.finish(Counts(3, 2) if counts is None else counts, STAMP)])


def written(client: str, *pieces: Piece, wish: Wish | None = None, counts: Counts | None = None) -> list[Any]:
    return events(raw(client, *pieces, wish=wish, counts=counts))


def test_openai_chat() -> None:
    """The role first, then contents, the finish reason with the last, the count only when asked for, `[DONE]`."""
    *chunks, usage, done = written("openai-chat", *PIECES, wish=Wish(usage=True))
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": ""},
        {"content": "Hel"},
        {"content": "lo"},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, "length"]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert (usage["choices"], usage["usage"]["total_tokens"], done) == ([], 5, "[DONE]")


def test_openai_completions() -> None:
    """Texts; `echo` puts the prompt before the first one of each choice."""
    second = Piece("x", 1, finish=Finish.END)
    chunks = written("openai-completions", *PIECES, second, wish=Wish(prompt="Hi ", full_text=True))
    assert [chunk["choices"][0]["text"] for chunk in chunks[:-1]] == ["Hi Hel", "lo", "Hi x"]
    assert chunks[-1] == "[DONE]"


def test_openai_events_are_framed_as_vllm_frames_them() -> None:
    """`data: ` with a space, and a blank line."""
    body = raw("openai-completions", *PIECES)
    assert body.startswith(b'data: {"id":"cmpl-1"')
    assert body.endswith(b"}\n\ndata: [DONE]\n\n")


def test_usage_that_is_not_known_is_not_sent() -> None:
    """A client that asked for it gets no made-up numbers."""
    assert written("openai-chat", *PIECES, wish=Wish(usage=True), counts=Counts(None, 2))[-2]["choices"] != []


def test_probabilities_have_running_offsets() -> None:
    """Each chunk's `text_offset` goes on where the one before ended."""
    chunks = written("openai-completions", *PIECES, wish=Wish(logprobs=0))
    assert [chunk["choices"][0]["logprobs"]["text_offset"] for chunk in chunks[:-1]] == [[0], [3]]
    assert written("openai-completions", *PIECES)[0]["choices"][0]["logprobs"] is None


def test_pieces_that_say_nothing_are_no_chunks() -> None:
    """vLLM's own empty pieces, while it waits for the rest of a character, are not passed on."""
    assert len(written("openai-completions", Piece(""), *PIECES)) == 3
    assert len(written("tgi", Piece(""), *PIECES)) == 2
    assert len(written("bedrock-completion", Piece(""), *PIECES)) == 2


def test_tgi() -> None:
    """One event a token; the last one has the whole text, why it ended and how much it was."""
    first, last = written("tgi", *PIECES, wish=Wish(seed=7, prompt="Hi ", full_text=True))
    token = {"id": 5, "text": "Hel", "logprob": -0.5, "special": False}
    assert first == {"index": 1, "token": token, "generated_text": None, "details": None}
    assert (last["index"], last["token"]["text"], last["generated_text"]) == (2, "lo", "Hi Hello")
    assert last["details"] == {"finish_reason": "length", "generated_tokens": 2, "seed": 7, "input_length": 3}
    assert raw("tgi", *PIECES).startswith(b'data:{"index":1,')
    assert raw("tgi", *PIECES).endswith(b"\n\n")


def test_tgi_alternatives() -> None:
    """`top_tokens` stand in each event when they were asked for."""
    token = Token("a", -0.5, 1, top=(Alternative("a", -0.5, 1), Alternative("b", -0.75, 2)))
    (event,) = written("tgi", Piece("a", tokens=(token,), finish=Finish.END), wish=Wish(logprobs=1))
    assert event["top_tokens"] == [{"id": 1, "text": "a", "logprob": -0.5, "special": False}]


def test_lmi() -> None:
    """One line a token, and the last line says the rest; every line ends, since line readers wait for it."""
    first, last = written("lmi", *PIECES, wish=Wish(prompt="Hi"))
    assert first == {"token": {"id": 5, "text": "Hel", "log_prob": -0.5}}
    assert last == {
        "token": {"id": 6, "text": "lo", "log_prob": -0.25},
        "generated_text": "Hello",
        "details": {"finish_reason": "length", "generated_tokens": 2, "inputs": "Hi"},
    }
    assert raw("lmi", *PIECES).count(b"\n") == 2
    assert raw("lmi", *PIECES).endswith(b"}\n")


def test_a_piece_of_several_tokens_is_as_many_events() -> None:
    """Ids and probabilities are all told, and the texts joined stay the text."""
    both = Piece("Hello", tokens=(HEL, LO), finish=Finish.END)
    assert [one["token"]["text"] for one in written("tgi", both)] == ["Hel", "lo"]
    spanning = Piece("é!", tokens=(Token("\ufffd", -1.0, 8), Token("\ufffd!", -2.0, 9)), finish=Finish.END)
    assert [(one["token"]["id"], one["token"]["text"]) for one in written("lmi", spanning)] == [(8, ""), (9, "é!")]


def test_an_end_without_a_token_is_a_special_one() -> None:
    """The last event of TGI always has a token; the end of the sequence has no text."""
    *_, last = written("tgi", Piece("x", tokens=(HEL,)), Piece(finish=Finish.END))
    assert last["token"] == {"id": None, "text": "", "logprob": None, "special": True}
    assert last["generated_text"] == "x"


@pytest.mark.parametrize(("tokens", "counted"), [((HEL,), 1), ((), None)])
def test_tokens_are_counted_only_where_they_are_told(tokens: tuple[Token, ...], counted: int | None) -> None:
    """Without the target's count, ids in the stream are counted; pieces without ids are no tokens."""
    (event,) = written("lmi", Piece("Hel", tokens=tokens, finish=Finish.END), counts=Counts())
    assert event["details"]["generated_tokens"] == counted


def test_bedrock() -> None:
    """Bedrock's objects as Server-Sent Events, counts with the last."""
    first, last = written("bedrock-completion", *PIECES, wish=Wish(prompt="Hi ", full_text=True))
    assert first == {
        "generation": "Hi Hel", "prompt_token_count": None, "generation_token_count": None, "stop_reason": None,
    }  # fmt: skip
    assert last == {
        "generation": "lo", "prompt_token_count": 3, "generation_token_count": 2, "stop_reason": "length",
    }  # fmt: skip


@pytest.mark.parametrize("client", ["tgi", "lmi", "bedrock-completion"])
def test_one_answer_where_there_is_room_for_one(client: str) -> None:
    """A second choice breaks the stream rather than being mixed into the first."""
    with pytest.raises(DialectError) as caught:
        written(client, Piece("x", 1))
    assert caught.value.wrong is Wrong.LOST


@pytest.mark.parametrize("client", ["tgi", "lmi", "bedrock-completion"])
def test_without_an_end_nothing_is_made_up(client: str) -> None:
    """A writer that saw no finish writes no last event."""
    assert len(written(client, PIECES[0])) == 1
