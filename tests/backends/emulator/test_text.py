"""The deterministic generator."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from backends.emulator.text import ACCENTED, WORDS, count_tokens, say

LENGTH = (8, 24)


@settings(max_examples=100)
@given(st.text(max_size=40), st.integers(1, 40), st.integers(0, 30))
def test_same_key_same_words_and_a_limit_only_cuts(key: str, limit: int, minimum: int) -> None:
    """The text depends on the key alone; a limit gives its beginning, and says whether it cut."""
    free, cut = (
        say(key, length=LENGTH, limit=None, minimum=minimum),
        say(key, length=LENGTH, limit=limit, minimum=minimum),
    )
    assert free == say(key, length=LENGTH, limit=None, minimum=minimum)
    assert cut.pieces == free.pieces[:limit]
    assert cut.finish == ("stop" if len(free.pieces) <= limit else "length")
    assert free.finish == "stop"
    assert max(LENGTH[0], minimum) <= len(free.pieces) <= max(LENGTH[1], minimum)


@settings(max_examples=50)
@given(st.text(max_size=20))
def test_pieces_are_tokens(key: str) -> None:
    """Counting the words of the text gives the number of pieces, so usage is right by construction."""
    said = say(key, length=LENGTH, limit=None)
    assert count_tokens(said.text) == len(said.pieces)


def test_keys_and_words_differ() -> None:
    """Two prompts get two texts; the vocabulary has characters of two, three and four bytes."""
    assert say("a", length=LENGTH, limit=None) != say("b", length=LENGTH, limit=None)
    assert {max(len(char.encode()) for char in word) for word in WORDS} == {1, 2, 3, 4}
    assert len(set(WORDS)) == len(WORDS)


def test_stop_strings_cut_before_themselves() -> None:
    """The first stop string found ends the text, with reason stop, even within a piece or at the start."""
    said = say("k", length=(8, 8), limit=None)
    first = said.pieces[0]
    third = said.pieces[2]
    assert say("k", length=(8, 8), limit=8, stop=("", "not there", third)).text == "".join(said.pieces[:2])
    assert say("k", length=(8, 8), limit=8, stop=(third[2:],)).finish == "stop"
    assert say("k", length=(8, 8), limit=None, stop=(first,)).pieces == ()


def test_accent_puts_a_multibyte_character_first() -> None:
    """A fault that splits characters needs one to split."""
    assert say("k", length=LENGTH, limit=3, accent=True).pieces[0] == ACCENTED
