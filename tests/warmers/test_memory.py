"""What a successor finds of its predecessor's warm-ups."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmers.idle import IdleLimit, Seen
from warmers.memory import Memory, document, read, write

MOMENTS = st.none() | st.floats(0, 4e9)
SEEN = st.builds(Seen, st.floats(0, 1e6), st.booleans(), st.booleans())
LIMITS = st.builds(IdleLimit, st.tuples(SEEN))


@given(st.builds(Memory, MOMENTS, MOMENTS, st.booleans(), st.integers(0, 99), LIMITS, st.text()))
def test_what_is_written_is_read(memory: Memory) -> None:
    """A document holds the whole of it."""
    assert read(write(memory)) == memory


def test_a_document_that_says_no_place_is_read() -> None:
    """It was written before documents said one."""
    assert read(b'{"seen":[],"begun":1,"ended":2,"open":false,"doubled":0}') == Memory(1.0, 2.0)


INFINITE = b'{"seen":[],"begun":1,"ended":null,"open":false,"doubled":1e999}'


@pytest.mark.parametrize("text", [None, b"", b"[]", b"{}", b"nonsense", b'{"seen":[[1]],"begun":1}', b"\xff", INFINITE])
def test_what_can_not_be_read_is_nothing(text: bytes | None) -> None:
    """A missing document, or one of another version, is a fresh start and no failure."""
    assert read(text) == Memory()


def test_each_target_has_a_document() -> None:
    """Two targets never share one."""
    assert document("a") != document("b")
