"""`${VAR}` in the texts of a policy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.document import read_document
from policies.interpolate import interpolate, substitute

from .written import PATIENT

SET = {"HOST": "models.internal", "EMPTY": "", "ODD": "${HOST}"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://${HOST}:80/${HOST}", "http://models.internal:80/models.internal"),
        ("${NONE:-http://127.0.0.1:9080}", "http://127.0.0.1:9080"),
        ("${NONE:-}", ""),
        ("${HOST:-other}", "models.internal"),
        ("${EMPTY}", ""),
        ("${EMPTY:-full}", "full"),
        ("${ODD}", "${HOST}"),
        ("$${HOST}", "${HOST}"),
        ("$HOST costs $5", "$HOST costs $5"),
        ("plain", "plain"),
    ],
)
def test_reference_is_replaced_once(text: str, expected: str) -> None:
    """A value is what the environment says, the default if it says nothing, and is not looked at again."""
    assert substitute(text, SET) == (expected, None)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("${NONE}", "NONE, which is not set"),
        ("${}", "literal"),
        ("${a b}", "literal"),
        ("${HOST", "literal"),
        ("${1}", "literal"),
    ],
)
def test_reference_that_cannot_be_resolved_stays_and_is_told(text: str, word: str) -> None:
    """An unset variable and a malformed reference are problems that say what to write."""
    resolved, complaint = substitute(text, SET)
    assert resolved == text
    assert complaint is not None
    assert word in complaint


def test_first_problem_of_a_text_is_the_one_told() -> None:
    """A text is one value in the report, with one problem."""
    assert "ONE" in str(substitute("${ONE} ${TWO} ${", {})[1])
    assert "literal" in str(substitute("${ ${TWO}", {})[1])


def test_values_are_resolved_at_any_depth_and_keys_are_not() -> None:
    """An environment fills in values; it cannot name targets or endpoints."""
    document = interpolate(read_document("${HOST}:\n  - {a: '${HOST}', b: 1, c: true}\n"), SET)
    assert document.data == {"${HOST}": [{"a": "models.internal", "b": 1, "c": True}]}


def test_problem_has_its_line_and_earlier_ones_are_kept() -> None:
    """The report names the place of each unset variable beside what was wrong before."""
    document = interpolate(read_document("a: ${X}\nb:\nc: [1, '${Y}']\n"), {})
    assert [(problem.line, problem.path) for problem in document.problems] == [(2, "b"), (1, "a"), (3, "c[1]")]


def test_result_is_text_even_when_it_looks_like_a_number() -> None:
    """The shape of a policy is in the file, not in the environment."""
    assert interpolate(read_document("a: ${N}"), {"N": "5"}).data == {"a": "5"}


@PATIENT
@given(st.text("a$${}:-_N", max_size=30), st.dictionaries(st.sampled_from(["N", "_", "NN"]), st.text("x$", max_size=3)))
def test_any_text_is_resolved_or_told(text: str, environment: dict[str, str]) -> None:
    """No text raises, and one without `${` is left alone."""
    resolved, complaint = substitute(text, environment)
    if "${" not in text:
        assert (resolved, complaint) == (text, None)
