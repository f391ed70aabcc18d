"""YAML read under YAML 1.2, with the place of every value."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.document import Document, plain_scalar, read_document

from .written import PATIENT


def told(text: str) -> list[tuple[int, str, str]]:
    return [(problem.line, problem.path, problem.message) for problem in read_document(text).problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("on", "on"), ("yes", "yes"), ("No", "No"), ("y", "y"), ("12:30", "12:30"), ("1_000", "1_000"), ("0b1", "0b1"),
        ("2026-01-01", "2026-01-01"), ("0123", 123), ("0o17", 15), ("0x1F", 31), ("-7", -7), ("+7", 7), ("1e3", 1000.0),
        (".5", 0.5), ("1.", 1.0), ("-.5e-1", -0.05), ("true", True), ("TRUE", True), ("False", False), ("tRue", "tRue"),
        ("null", None), ("~", None), ("", None), ("nil", "nil"), ("=", "="), ("1.2.3", "1.2.3"), ("-", "-"),
        ("１", "１"),
    ],
)  # fmt: skip
def test_plain_scalars_mean_what_yaml_1_2_says(text: str, expected: object) -> None:
    """`on` and `12:30` are text and `0123` is 123, whatever YAML 1.1 thought."""
    value = plain_scalar(text)
    assert (value, type(value)) == (expected, type(expected))


@pytest.mark.parametrize(("text", "expected"), [(".inf", math.inf), ("-.INF", -math.inf), ("+.inf", math.inf)])
def test_infinities_are_numbers(text: str, expected: float) -> None:
    """They are recognised, so that they can be refused as numbers and not taken for names."""
    assert plain_scalar(text) == expected
    assert math.isnan(float(plain_scalar(".NaN") or 0))


def test_quotes_make_text() -> None:
    """A quoted or block scalar is text, whatever is in it."""
    document = read_document("a: \"1\"\nb: 'true'\nc: |\n  2\nd: >\n  3\n")
    assert document.data == {"a": "1", "b": "true", "c": "2\n", "d": "3\n"}
    assert document.problems == ()


def test_lines_and_spellings_are_kept() -> None:
    """A value's line is its key's, an item's line its own; how it was written stays known."""
    document = read_document("a:\n  b:\n    0x10\n  c:\n    - x\n    - y\n")
    assert document.line(("a", "b")) == 2
    assert document.line(("a", "c", 1)) == 6
    assert document.marks["a", "b"].text == "0x10"
    assert document.line(("a", "c", "missing", 7)) == 4
    assert document.line(("nowhere",)) == 1


def test_duplicate_keys_under_a_duplicate_key_are_told() -> None:
    """Found by fuzzing: what does not count has no first line to be named, and is still no reason to fail."""
    text = "a: {b: 1}\na:\n  c: 1\n  c: 2\n"
    assert told(text) == [
        (2, "a", "is written twice (first on line 1); only one of them can count: delete one"),
        (4, "a.c", "is written twice; only one of them can count: delete one"),
    ]


def test_duplicate_key_is_told_with_both_lines_and_first_counts() -> None:
    """The repeated entry is dropped, with everything in it, and both places are named."""
    text = "a:\n  k: 1\nb: 2\na:\n  k: 3\n  m: [4]\n"
    document = read_document(text)
    assert document.data == {"a": {"k": 1}, "b": 2}
    assert told(text) == [(4, "a", "is written twice (first on line 1); only one of them can count: delete one")]
    assert document.line(("a", "k")) == 2
    assert ("a", "m") not in document.marks


@pytest.mark.parametrize(
    ("text", "line", "path", "word"),
    [
        ("a: 1\nb:\n", 2, "b", "no value"),
        ("a: [1, ~]", 1, "a[1]", "no value"),
        ("a:\n- &x 1", 2, "a[0]", "anchor"),
        ("a: &x {b: 1}", 1, "a", "anchor"),
        ("&x a: 1", 1, "a", "anchor"),
        ("a: 1\nb: *x", 2, "b", "anchor"),
        ("a:\n  <<: {b: 1}", 2, "a.<<", "merge keys"),
        ("a: !!str 1", 1, "a", "tag"),
        ("a: !mine [1]", 1, "a", "tag"),
        ("!x a: 1", 1, "a", "tag"),
        ("1: a", 1, "1", 'quote it: "1"'),
        ("true: a", 1, "true", "quote it"),
        ("~: a", 1, "~", "quote it"),
        ("a: .inf", 1, "a", "finite"),
        ("a: " + "9" * 400, 1, "a", "finite"),
        ("a: .nan", 1, "a", "finite"),
        ('a: "\\ud800"', 1, "a", "surrogate"),
        ('"\\ud800": 1', 1, "\ud800", "quote it"),
        ("? [a]\n: b", 1, "", "must be text"),
        ("? {a: 1}\n: b", 1, "", "must be text"),
        ("a:\n  *x : b", 2, "a", "must be text"),
        ("a: 1\n--- \nb: 2", 2, "", "second document"),
        ("", 1, "", "empty"),
        ("# nothing\n", 1, "", "empty"),
        ("a: b\n c: d", 2, "", "not valid YAML"),
        ("a: [1", 1, "", "not valid YAML"),
        ("\ta: 1", 1, "", "not valid YAML"),
        ("a:\n\tb: 1", 2, "", "indent with spaces"),
        ("a: 1\nb: {c: ${NAME}}", 2, "", 'in quotes: "${NAME}"'),
        ("a: 1\nb: \x01", 2, "", "the character U+0001 is not allowed; delete it"),
        ("a:\n  b:\tc", 2, "", "write a space in place of the tab"),
        ("a: 1\nb: team: c", 2, "", "a value that has a colon and a space in it stands in quotes"),
        ('a: {b: "c}\nd: 1\ne: "f"', 3, "", "while parsing a flow mapping that begins on line 1, expected ',' or '}'"),
        (
            'a: "b\nc: 1\n',
            3,
            "",
            "while scanning a quoted scalar that begins on line 1, found unexpected end of stream",
        ),
        ('a: "\\UFFFFFFFF"', 1, "", "escape"),
        ("%YAML 2.0\n--- a", 1, "", "not valid YAML"),
    ],
)
def test_what_a_policy_has_no_use_for_is_refused_with_its_place(text: str, line: int, path: str, word: str) -> None:
    """Every surprise of YAML is a problem with a line, a path and a reason."""
    found = told(text)
    assert [(at, where) for at, where, _ in found] == [(line, path)]
    assert word in found[0][2]


def test_merge_key_in_quotes_is_a_key() -> None:
    """Only the plain `<<` merges, so only that is refused."""
    assert read_document('"<<": 1').data == {"<<": 1}


@pytest.mark.parametrize("opening", ["[", "{a: "])
def test_depth_is_bounded(opening: str) -> None:
    """A text that nests without end costs one problem, not the stack."""
    found = told(opening * 5000)
    assert "deeper than 16" in found[-1][2]


def test_all_problems_are_told() -> None:
    """One problem does not hide the next."""
    assert [path for _, path, _ in told("a:\nb: *x\nc: 1\nc: 2\nd: &y\n- 1\n")] == ["a", "b", "c", "d"]


def test_scalar_document() -> None:
    """A document that is one value is read as that value; that it is no policy is for others to say."""
    assert read_document("just text").data == "just text"


json_values = st.recursive(
    st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.text(st.characters(max_codepoint=126, min_codepoint=32) | st.sampled_from("é€𐀀")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc-_", min_size=1), inner, max_size=3),
    max_leaves=12,
)


@PATIENT
@given(json_values)
def test_json_is_read_as_it_is(value: object) -> None:
    """JSON is YAML: what a program writes as JSON comes back the same, without problems."""
    document = read_document(json.dumps(value, ensure_ascii=False))
    assert document.data == value
    assert document.problems == ()


@PATIENT
@given(st.text(st.sampled_from("ab:-[]{}\"'\\#&*!|>%@?, \n\t0.~<ux€\x00\ud800"), max_size=60))
def test_any_text_gives_a_document(text: str) -> None:
    """Garbage ends in problems, never in an exception."""
    assert isinstance(read_document(text), Document)
