"""Two answers in one number, and its parts."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.wire.comparison import PARTS, Cadence, Comparison, Heard, compare, comparing
from backends.wire.comparison.meaning import whole
from tests.backends.wire.dialects.vectors import ALL, recorded

TEXT = "The quick brown fox jumps over the lazy dog and runs away."
FAILED = Heard(status=400, error="ModelError")


def answer(text: str = TEXT, finish: str = "stop", prompt: int = 20, completion: int = 12, **more: Any) -> Heard:
    """A chat's answer; `more` goes into its message."""
    document = {
        "id": "1",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text, **more}, "finish_reason": finish}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": completion},
    }
    return Heard(content_type="application/json", body=json.dumps(document).encode())


def parts_of(one: Heard, other: Heard, dialect: str = "openai-chat") -> dict[str, float]:
    return dict(compare(dialect, one, other).parts)


HEARD = st.one_of(
    st.builds(answer, st.sampled_from([TEXT, "", "No."]), st.sampled_from(["stop", "length"]), st.integers(0, 40)),
    st.builds(Heard, st.sampled_from([200, 400, 424, 500]), st.sampled_from([None, "ModelError"]), body=st.binary()),
    st.builds(Heard, cadence=st.just(Cadence(0.2, (0.1,))), broken=st.booleans()),
)


@given(HEARD, HEARD, st.sampled_from([*ALL, "opaque"]))
def test_scores_are_symmetric_shares(one: Heard, other: Heard, dialect: str) -> None:
    """Score and parts lie in 0..1, do not depend on the order, are parts that have a name; itself is 1."""
    found, back = compare(dialect, one, other), compare(dialect, other, one)
    assert found.score == pytest.approx(back.score)
    assert dict(found.parts) == pytest.approx(dict(back.parts))
    assert found.parts.keys() <= PARTS.keys()
    assert all(0 <= value <= 1 for value in (found.score, *found.parts.values()))
    assert compare(dialect, one, one).score == pytest.approx(1)


@pytest.mark.parametrize(
    ("other", "part", "expected"),
    [
        (answer(finish="length"), "finish", 0.0),
        (answer(prompt=21), "prompt_tokens", 1 - 4 / 21),
        (answer(prompt=40), "prompt_tokens", 0.0),
        (answer(completion=24), "length", 0.5),
        (answer("Nothing alike here"), "text", 0.0),
        (answer(reasoning_content="because"), "reasoning", 0.0),
        (answer(tool_calls=[{"function": {"name": "f", "arguments": "{}"}}]), "tools", 0.0),
        (replace(answer(), content_type="text/plain"), "headers", 0.5),
        (replace(answer(), attributes=True), "headers", 0.5),
    ],
)
def test_each_difference_shows_in_its_part(other: Heard, part: str, expected: float) -> None:
    """What differs is named, lowers the score, and is all that differs but for what follows from it."""
    found = compare("openai-chat", answer(), other)
    assert found.parts[part] == pytest.approx(expected)
    assert found.score < 1
    assert {name for name, value in found.parts.items() if value < 1} <= {part, "structure", "length", "text"}


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (answer(), FAILED, 0.0),
        (FAILED, FAILED, 1.0),
        (FAILED, replace(FAILED, status=422), 0.5),
        (FAILED, replace(FAILED, error="ValidationError"), 0.5),
        (FAILED, replace(FAILED, status=500), 0.0),
        (Heard(broken=True), Heard(broken=True), 1.0),
        (Heard(broken=True), answer(), 0.0),
        (answer(), Heard(content_type="text/html", body=b"<html>"), 0.0),
    ],
)
def test_an_answer_and_a_failure_have_nothing_in_common(one: Heard, other: Heard, expected: float) -> None:
    """Failures agree by status and class; an answer of another form counts as none."""
    assert compare("openai-chat", one, other).score == expected


def test_answers_that_both_are_not_as_declared_are_compared_as_texts() -> None:
    """A policy that names the wrong dialect does not make everything look alike, or unlike."""
    one = Heard(content_type="application/json", body=b'{"label": "a cat on a mat"}')
    other = Heard(content_type="application/json", body=b'{"label": "dogs"}')
    assert compare("openai-chat", one, one).score == 1
    assert compare("openai-chat", one, other).parts["text"] == 0


def test_a_call_without_text_is_judged_by_the_call() -> None:
    """Two calls with empty texts have no likeness of texts; a text beside them counts."""
    call = [{"function": {"name": "f", "arguments": "{}"}}]
    assert "text" not in parts_of(answer("", tool_calls=call), answer(" ", tool_calls=call))
    assert "text" in parts_of(answer("Calling.", tool_calls=call), answer("", tool_calls=call))


def test_a_choice_too_few_counts_as_none_alike() -> None:
    """Half of two answers is half alike."""
    choices = [{"index": index, "text": TEXT, "finish_reason": "stop"} for index in range(2)]
    both, single = (
        Heard(content_type="application/json", body=json.dumps({"choices": some}).encode())
        for some in (choices, choices[:1])
    )
    found = parts_of(both, single, "openai-completions")
    assert (found["text"], found["finish"], found["length"]) == (0.5, 0.5, 0.5)


def test_pace_is_told_and_not_counted() -> None:
    """A slow stream of the same answer has lower parts of pace and the same score."""
    quick, slow = (replace(answer(), cadence=Cadence(first, (first,) * 9)) for first in (0.1, 1.0))
    found = compare("openai-chat", quick, slow)
    assert found.score == pytest.approx(1)
    assert found.parts["first_byte"] == pytest.approx(0.2 / 1.1)
    assert found.parts["gaps"] == pytest.approx(0.12 / 1.02)
    assert "gaps" not in parts_of(quick, answer())


def test_streamed_and_whole_answers_of_vllm_agree() -> None:
    """The same answer recorded whole and streamed has the same text, finish and counts."""
    vectors = recorded("openai-completions")
    whole, streamed = (
        Heard(content_type=vectors[name].content_type, body=vectors[name].body) for name in ("plain", "stream")
    )
    found = parts_of(whole, streamed, "openai-completions")
    assert (found["text"], found["finish"]) == (1, 1)


def test_words_name_the_worst_first() -> None:
    """A difference reads as its parts, worst first; no difference says so."""
    assert Comparison(0.5, {"outcome": 1.0, "text": 0.412, "finish": 0.0}).words == "finish 0, text 0.41"
    assert compare("openai-chat", answer(), answer()).words == "alike"


def test_several_at_once_are_compared_as_one_by_one() -> None:
    """What is read once for all gives the same numbers."""
    others = [answer("Nothing alike"), answer(), FAILED]
    assert whole(comparing("openai-chat", answer(), others)) == [
        compare("openai-chat", answer(), one) for one in others
    ]
