"""Likeness of texts."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.wire.comparison.texts import LONGEST, similarity

WORDS = st.lists(st.sampled_from(["a", "model", "says", "that", "it", "works", ",", "."]), max_size=30).map(" ".join)


@given(WORDS, WORDS)
def test_is_a_symmetric_share(one: str, other: str) -> None:
    """Between 0 and 1, the same from both sides, and 1 for a text and itself."""
    assert 0 <= similarity(one, other) <= 1
    assert similarity(one, other) == similarity(other, one)
    assert similarity(one, one) == 1


@given(WORDS)
def test_spacing_does_not_count(text: str) -> None:
    """Line breaks and indentation are the same text."""
    assert similarity(text, f"  {text.replace(' ', chr(10) + '  ')}\n") == 1


@pytest.mark.parametrize(
    ("one", "other", "least", "most"),
    [
        ("", "", 1, 1),
        ("", "something", 0, 0),
        ("", " \n", 1, 1),
        ("wholly different words", "nothing in common here", 0, 0),
        ("yes", "no", 0, 0),
        ("yes, sir", "yes, madam", 0.3, 0.5),
        ("Paris is the capital of France.", "The capital of France is Paris.", 0.5, 0.8),
        ("the cat sat on the mat", "mat the on sat cat the", 0.5, 0.5),
        ("東京は日本の首都です", "京都は日本の首都でした", 0.6, 0.9),
        ("return a+b", "return a-b", 0.3, 0.5),
    ],
)
def test_likeness_follows_what_is_shared(one: str, other: str, least: float, most: float) -> None:
    """Nothing shared is 0; shuffled words keep half; near texts lie between, in any script."""
    assert least <= similarity(one, other) <= most


def test_what_lies_between_the_ends_of_a_long_text_is_not_read() -> None:
    """Beyond the bound only beginning and end count: a change in the middle is not seen, one at either end is."""
    words = [f"w{number}" for number in range(LONGEST)]
    text = " ".join(words)
    middle = text.replace(words[LONGEST // 2], "changed")
    assert similarity(text, middle) == 1
    assert similarity(text, f"other beginning {text}") < 1
    assert similarity(text, f"{text} other end") < 1


def test_cost_is_bounded() -> None:
    """Megabytes cost no more than the bound: far below the time of a client's own request."""
    one, other = "lorem ipsum dolor " * 100_000, "sit amet consectetur " * 100_000
    began = time.perf_counter()
    similarity(one, other)
    assert time.perf_counter() - began < 5
