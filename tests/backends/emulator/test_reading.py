"""Strict YAML."""

from __future__ import annotations

import pytest

from backends.emulator.config import load_config, load_faults
from backends.emulator.reading import EmulatorConfigError, read_mapping, seconds


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        *((5, 5.0), (0.5, 0.5), ("90s", 90.0), ("250ms", 0.25), ("15m", 900.0), ("1.5h", 5400.0), ("1d", 86400.0)),
        *(("90", None), (True, None), (None, None), ("", None), ("-5s", None)),
    ],
)
def test_durations(written: object, meant: float | None) -> None:
    """Numbers are seconds, texts need a unit."""
    if meant is None:
        with pytest.raises(ValueError, match="write a duration"):
            seconds(written)
    else:
        assert seconds(written) == meant


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "f.yaml:1: not a mapping"),
        ("- a", "f.yaml:1: not a mapping"),
        ("a: 1\nb: [", "f.yaml:2: not YAML"),
        ("a: \x00", "f.yaml: not YAML"),
        ("a: 1\nb: {c: 1, c: 2}\na: 3", "f.yaml:3: a: the key is there twice; keep one"),
        ("l:\n- x: 1\n  x: 2", "f.yaml:3: l.0.x: the key is there twice"),
    ],
)
def test_what_is_not_a_plain_mapping_is_refused_with_its_line(text: str, said: str) -> None:
    """Syntax errors and doubled keys are told with line and remedy."""
    with pytest.raises(EmulatorConfigError) as found:
        read_mapping(text, "f.yaml")
    assert said in str(found.value)


def test_lines_are_those_of_the_keys() -> None:
    """Every key and list entry is found again in the text."""
    _, lines = read_mapping("a:\n  b: 1\n  c:\n  - d\n  - {e: 2}\n", "f.yaml")
    assert lines == {
        ("a",): 1,
        ("a", "b"): 2,
        ("a", "c"): 3,
        ("a", "c", "0"): 4,
        ("a", "c", "1"): 5,
        ("a", "c", "1", "e"): 5,
    }


def test_a_problem_is_told_with_line_path_and_nearest_key() -> None:
    """A person finds the place and the word."""
    text = """apiVersion: pointsman-emulator/v1
credentials:
- {access_key_id: a, secret_access_key: b}
models:
  m:
    kind: endpoint
    dialect: tgi
    latency:
      first_bite: 1s
"""
    with pytest.raises(EmulatorConfigError) as found:
        load_config(text, "f.yaml")
    assert str(found.value) == "f.yaml:9: models.m.latency.first_bite: unknown key; did you mean `first_byte`?"


def test_a_key_of_another_place_is_not_what_it_is_taken_for() -> None:
    """`kind` belongs to a model: to a fault it is unknown, and asking whether `kind` was meant helps nobody."""
    with pytest.raises(EmulatorConfigError) as found:
        load_faults([{"name": "hang", "kind": "hang"}], "sagemaker")
    assert str(found.value) == "faults: 0.kind: unknown key; remove it"
