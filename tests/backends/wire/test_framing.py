"""Re-framing: one event or line is one part, nothing is lost or added, however the bytes arrive."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.wire.framing import PART_LIMIT, reframer

SSE = "text/event-stream"
LINES = "application/jsonlines"


def parts_of(content_type: str | None, pieces: Sequence[bytes]) -> list[bytes]:
    """All parts of a body that arrives in `pieces`."""
    frames = reframer(content_type)
    return [part for piece in pieces for part in frames.feed(piece)] + frames.finish()


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """`data` in pieces, cut at `places`."""
    marks = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(marks)]


@pytest.mark.parametrize("blank", [b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n", b"\r\n\n"], ids=repr)
def test_one_event_is_one_part(blank: bytes) -> None:
    """Whatever line ends a server uses, every SSE event comes out by itself with its blank line, however it arrives."""
    newline = blank[: len(blank) // 2] or b"\n"
    events = [
        b"data: one" + blank,
        b": keep-alive" + blank,
        b"event: x" + newline + b"data: two" + newline + "data: é".encode() + blank,
        b"data: [DONE]" + blank,
    ]
    body = b"".join(events)
    assert parts_of(SSE, [body]) == events
    assert parts_of(SSE, [body[at : at + 1] for at in range(len(body))]) == events


@pytest.mark.parametrize("blank", [b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n"], ids=repr)
def test_an_event_is_out_with_its_last_byte(blank: bytes) -> None:
    """An event is handed out as soon as its last byte is there, so that a stream doesn't lag by one token."""
    frames = reframer(SSE)
    for number in range(3):
        event = b"data: %d" % number + blank
        assert [frames.feed(event[at : at + 1]) for at in range(len(event))] == [[]] * (len(event) - 1) + [[event]]


def test_a_line_feed_alone_before_a_lone_carriage_return() -> None:
    """LF followed by a lone CR ends an event too; it is known with the byte after it."""
    assert parts_of(SSE, [b"data: a\n\rdata: b\n\r"]) == [b"data: a\n\r", b"data: b\n\r"]


def test_a_blank_line_too_many_is_a_part_of_its_own() -> None:
    """Surplus blank lines never join an event: a client that looks for `data:` at the start still finds it."""
    assert parts_of(SSE, [b"\n\r\ndata: a\n\n\n\r\r\ndata: b\r\r\ndata: c\n\n"]) == [
        b"\n",
        b"\r\n",
        b"data: a\n\n",
        b"\n",
        b"\r",
        b"\r\n",
        b"data: b\r\r",
        b"\n",
        b"data: c\n\n",
    ]


@pytest.mark.parametrize(
    "content_type",
    ["application/jsonlines", "application/x-ndjson; charset=utf-8", "Application/X-JSONLines", "application/json-seq"],
)
def test_one_json_line_is_one_part(content_type: str) -> None:
    """Every line of a JSON-lines body is one part, also where CR precedes LF or the line is empty."""
    lines = [b'{"token": 1}\n', '{"token": "é"}\r\n'.encode(), b"\n", b'\x1e{"a":"\\n\r"}\n']
    body = b"".join(lines)
    assert parts_of(content_type, [body]) == lines
    assert parts_of(content_type, [body[at : at + 1] for at in range(len(body))]) == lines


@pytest.mark.parametrize("content_type", ["Text/Event-Stream", " text/event-stream ; charset=utf-8"])
def test_case_and_parameters_of_the_type_are_tolerated(content_type: str) -> None:
    """An SSE body is known by its type in any case and with parameters."""
    assert parts_of(content_type, [b"data: a\n\ndata: b\n\n"]) == [b"data: a\n\n", b"data: b\n\n"]


@pytest.mark.parametrize(
    "content_type", [None, "", "application/json", "text/event-stream-x", "application/octet-stream"]
)
def test_other_types_keep_their_chunks(content_type: str | None) -> None:
    """A body of another type, or of none, comes out in the chunks in which it came, with no newline added."""
    chunks = [b"data: a\n\nda", b"\xe2\x82", b"\xac", b"x" * (PART_LIMIT + 1)]
    assert parts_of(content_type, [chunks[0], b"", *chunks[1:]]) == chunks


@pytest.mark.parametrize(
    ("content_type", "body", "end"),
    [
        (SSE, b"data: a\n\ndata: b", b"data: b\n"),
        (SSE, b"data: a\n\ndata: b\n", b"data: b\n"),
        (SSE, b"data: a\n\ndata: b\r", b"data: b\r"),
        (SSE, b"data: a\n\ndata: b\n\r", b"data: b\n\r"),
        (LINES, b'{"a":1}\n{"b":2}', b'{"b":2}\n'),
        (LINES, b'{"a":1}\n{"b":2}\r', b'{"b":2}\r\n'),
        (LINES, b'{"a":1}\n{"b":2}\n', b'{"b":2}\n'),
    ],
)
def test_a_missing_newline_is_added_once(content_type: str, body: bytes, end: bytes) -> None:
    """A body that ends without a newline gets exactly one, in its last part; one that ends with one gets none."""
    parts = parts_of(content_type, [body])
    assert len(parts) == 2
    assert parts[1] == end


@pytest.mark.parametrize("content_type", [SSE, LINES, None])
def test_an_empty_body_stays_empty(content_type: str | None) -> None:
    """No bytes in, no part out, and no newline."""
    assert parts_of(content_type, []) == []
    assert parts_of(content_type, [b""]) == []


ALPHABET = st.lists(
    st.sampled_from([b"\n", b"\r", b"\r\n", b"d", b"data: x", b":", "é".encode(), "𝄞".encode(), b"\xff"])
)
PLACES = st.lists(st.integers(0, 10_000), max_size=12)


@settings(max_examples=100)
@given(st.lists(st.lists(st.sampled_from(["data: x", "", "é", ":"]), max_size=3).map("\n".join), max_size=6))
def test_lines_in_any_order_are_cut_alike_whole_and_byte_by_byte(events: list[str]) -> None:
    """Events of one line, of several and of none: what arrives at once is cut as what arrives in bytes."""
    body = "".join(f"{event}\n\n" for event in events).encode()
    assert parts_of(SSE, [body]) == parts_of(SSE, [body[at : at + 1] for at in range(len(body))])


@settings(max_examples=100)
@given(st.sampled_from([SSE, LINES, None]), ALPHABET.map(b"".join), PLACES)
def test_bytes_in_are_bytes_out(content_type: str | None, body: bytes, places: list[int]) -> None:
    """Joined, the parts are the body, plus at most the newline that it lacks, and no part is empty."""
    parts = parts_of(content_type, cut(body, places))
    ends = {SSE: (b"\n", b"\r"), LINES: (b"\n",), None: (b"",)}[content_type]
    assert b"".join(parts) == (body if not body or body.endswith(ends) else body + b"\n")
    assert all(parts)


@settings(max_examples=100)
@given(st.sampled_from([SSE, LINES]), ALPHABET.map(b"".join), PLACES)
def test_parts_do_not_depend_on_arrival(content_type: str, body: bytes, places: list[int]) -> None:
    """The parts of a body are the same however its bytes are cut on the way."""
    assert parts_of(content_type, [body]) == parts_of(content_type, cut(body, places))


@settings(max_examples=60)
@given(
    st.lists(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=10), min_size=1)),
    PLACES,
)
def test_every_event_is_found_again(events: list[list[str]], places: list[int]) -> None:
    """Events with any text in their lines come out one a part, whole."""
    written = ["".join(f"data:{line}\n" for line in lines).encode() + b"\n" for lines in events]
    assert parts_of(SSE, cut(b"".join(written), places)) == written


@pytest.mark.parametrize(("content_type", "end"), [(SSE, b"\r\n\r\n"), (LINES, b"\n")])
@pytest.mark.parametrize("over", range(-6, 7))
def test_long_units_are_cut_at_the_limit(content_type: str, end: bytes, over: int) -> None:
    """A unit of up to 1 MiB is one part; a longer one is cut, and what follows it is a part of its own again."""
    unit = b"data:" + b"x" * (PART_LIMIT - 5 - len(end) + over) + end
    after = b"data: next" + end
    pieces = [unit[at : at + 65_536] for at in range(0, len(unit), 65_536)] + [after]
    parts = parts_of(content_type, pieces)
    assert b"".join(parts) == unit + after
    assert len(parts) == (2 if over <= 0 else 3)
    assert max(map(len, parts)) <= PART_LIMIT
    assert parts[-1] == after
    assert parts_of(content_type, [unit + after]) == parts


@pytest.mark.parametrize("content_type", [SSE, LINES])
@pytest.mark.parametrize("character", ["é", "€", "𝄞"])
@pytest.mark.parametrize("shift", range(4))
def test_a_character_is_never_split(content_type: str, character: str, shift: int) -> None:
    """Pieces of a long unit end between UTF-8 characters."""
    text = "x" * shift + character * (PART_LIMIT * 5 // 2 // len(character.encode()))
    parts = parts_of(content_type, [text.encode()])
    assert "".join(part.decode() for part in parts) == text + "\n"
    assert [len(part) > PART_LIMIT - 4 for part in parts] == [True, True, False]


def test_bytes_that_are_no_text_are_cut_all_the_same() -> None:
    """A long run of continuation bytes, which is no UTF-8, is cut at the limit."""
    parts = parts_of(LINES, [b"\x80" * (PART_LIMIT + 1)])
    assert [len(part) for part in parts] == [PART_LIMIT, 2]


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("before", range(1, 6))
def test_a_cut_never_falls_into_a_blank_line(newline: bytes, before: int) -> None:
    """Where a long event's blank line lies across the limit, the next event still begins a part."""
    unit = b"data:" + b"x" * (PART_LIMIT - 5 - before) + newline + newline
    after = b"data: next" + newline + newline
    parts = parts_of(SSE, [unit + after])
    assert parts[-1] == after
    assert b"".join(parts[:-1]) == unit
    near = PART_LIMIT - 8
    late = (unit + after)[near:]
    assert parts_of(SSE, [unit[:near], *(late[at : at + 1] for at in range(len(late)))]) == parts


def test_a_line_end_at_the_cut_of_a_long_event_does_not_end_it() -> None:
    """Inside a long event a single line end at the cut is no blank line."""
    unit = b"data:" + b"x" * (PART_LIMIT - 5) + b"\ndata: y\n\n"
    expected = [unit[:PART_LIMIT], unit[PART_LIMIT:]]
    assert parts_of(SSE, [unit]) == expected
    assert parts_of(SSE, [unit[: PART_LIMIT + 1], unit[PART_LIMIT + 1 :]]) == expected


def test_a_newline_added_to_a_full_part_is_a_part() -> None:
    """A last line of exactly the limit gets its missing newline as a part, so that no part is too long."""
    assert [len(part) for part in parts_of(LINES, [b"x" * PART_LIMIT])] == [PART_LIMIT, 1]


def test_bytes_one_by_one_take_linear_time() -> None:
    """A long line that arrives byte by byte is not searched from its start each time."""
    body = json.dumps("x" * 100_000).encode() + b"\n"
    assert parts_of(LINES, [body[at : at + 1] for at in range(len(body))]) == [body]
    event = b"data: " + body + b"\n"
    assert parts_of(SSE, [event[at : at + 1] for at in range(len(event))]) == [event]
