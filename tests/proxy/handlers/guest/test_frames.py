"""Messages between the proxy and a worker."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.handlers.guest.frames import (
    LARGEST_HEAD,
    Malformed,
    call_head,
    encode,
    question_head,
    read,
    reply_head,
    split,
    to_call,
    to_question,
    to_reply,
)
from proxy.handlers.guest.values import Question, Reply
from tests.proxy.handlers.customers import call

TEXT = st.none() | st.text()


def reader(data: bytes) -> asyncio.StreamReader:
    stream = asyncio.StreamReader()
    stream.feed_data(data)
    stream.feed_eof()
    return stream


@given(st.lists(st.tuples(st.dictionaries(st.text(), st.text()), st.binary())))
async def test_messages_come_out_as_they_went_in(messages: list[tuple[dict[str, str], bytes]]) -> None:
    """Several on one stream, whatever their bodies hold."""
    stream = reader(b"".join(encode(head, body) for head, body in messages))
    assert [await read(stream) for _ in messages] == messages
    with pytest.raises(asyncio.IncompleteReadError):
        await read(stream)


@given(st.binary(), TEXT, TEXT, TEXT, st.booleans(), st.dictionaries(st.text(), st.text()))
def test_values_come_out_as_they_went_in(
    body: bytes, first: str | None, second: str | None, third: str | None, flag: bool, headers: dict[str, str]
) -> None:
    """Calls, replies and questions lose nothing but what belongs to one side."""
    one = call(
        body,
        content_type=first,
        accept=second,
        custom_attributes=third,
        streaming=flag,
        headers=headers,
        component=first,
    )
    assert to_call(call_head(one), body, None) == one
    reply = Reply(body, first, second)
    assert to_reply(reply_head(reply), body, None) == reply
    question = Question(first, second, body, third, first, second)
    assert to_question(question_head(question), body) == question


@pytest.mark.parametrize(
    "data",
    [
        (LARGEST_HEAD + 1).to_bytes(4, "big") + bytes(8),
        b"\0\0\0\0" + b"\xff" * 8,
        b"\0\0\0\x01" + bytes(8) + b"{",
        b"\0\0\0\x02" + bytes(8) + b"[]",
    ],
)
async def test_something_else_is_refused(data: bytes) -> None:
    """A customer's code that writes into the socket cannot make the proxy read gigabytes, or trip."""
    with pytest.raises(Malformed):
        await read(reader(data))


@given(st.lists(st.binary()))
def test_pieces_are_split_where_they_were_joined(pieces: list[bytes]) -> None:
    """Sizes that do not add up are refused."""
    body = b"".join(pieces)
    assert split(body, [len(piece) for piece in pieces]) == pieces
    with pytest.raises(Malformed):
        split(body + b"x", [len(piece) for piece in pieces])
