"""Messages between the proxy and a worker: a small JSON head and a body, each with its length in front.

A body crosses as it is; no message is ever looked for in another's bytes. `Call` and `Reply` travel as a head without
what belongs to one side only (`state`, `invoke`).
"""

from __future__ import annotations

import asyncio
import json
import struct
from typing import Any

from .values import Call, Invoke, Question, Reply

_LENGTHS = struct.Struct(">IQ")
LARGEST_HEAD = 16 * 1024 * 1024
LARGEST_BODY = 4 * 1024 * 1024 * 1024

Head = dict[str, Any]

_CALL = (
    "content_type",
    "accept",
    "custom_attributes",
    "endpoint",
    "component",
    "streaming",
    "request_id",
    "speaks",
    "headers",
)
_REPLY = ("content_type", "custom_attributes")
_QUESTION = ("endpoint", "component", "content_type", "accept", "custom_attributes")


class Malformed(Exception):
    """The other side sent something that is no message."""


def encode(head: Head, *bodies: bytes) -> bytes:
    """One message."""
    text = json.dumps(head, separators=(",", ":")).encode()
    return b"".join((_LENGTHS.pack(len(text), sum(map(len, bodies))), text, *bodies))


async def read(reader: asyncio.StreamReader) -> tuple[Head, bytes]:
    """The next message. Raises IncompleteReadError at the end, Malformed when there is something else."""
    lengths = await reader.readexactly(_LENGTHS.size)
    head_size, body_size = _LENGTHS.unpack(lengths)
    if head_size > LARGEST_HEAD or body_size > LARGEST_BODY:
        message = f"a message of {head_size} and {body_size} bytes"
        raise Malformed(message)
    text = await reader.readexactly(head_size)
    body = await reader.readexactly(body_size)
    try:
        head = json.loads(text)
    except ValueError as error:
        message = "a head that is no JSON"
        raise Malformed(message) from error
    if not isinstance(head, dict):
        message = "a head that is no object"
        raise Malformed(message)
    return head, body


def call_head(call: Call) -> Head:
    """`call` without its body."""
    return {name: getattr(call, name) for name in _CALL} | {"headers": dict(call.headers)}


def to_call(head: Head, body: bytes, invoke: Invoke | None) -> Call:
    """What `call_head` and the body say."""
    return Call(body=body, **{name: head[name] for name in _CALL}, _invoke=invoke)


def reply_head(reply: Reply) -> Head:
    """`reply` without its body."""
    return {name: getattr(reply, name) for name in _REPLY}


def to_reply(head: Head, body: bytes, call: Call | None) -> Reply:
    """What `reply_head` and the body say."""
    return Reply(body, head["content_type"], head["custom_attributes"], call)


def question_head(question: Question) -> Head:
    """`question` without its body."""
    return {name: getattr(question, name) for name in _QUESTION}


def to_question(head: Head, body: bytes) -> Question:
    """What `question_head` and the body say."""
    return Question(body=body, **{name: head[name] for name in _QUESTION})


def split(body: bytes, sizes: list[int]) -> list[bytes]:
    """The pieces that were joined. Raises Malformed when they are not of these sizes."""
    pieces, at = [], 0
    for size in sizes:
        pieces.append(body[at : at + size])
        at += size
    if at != len(body):
        message = f"pieces of {at} bytes in a body of {len(body)}"
        raise Malformed(message)
    return pieces
