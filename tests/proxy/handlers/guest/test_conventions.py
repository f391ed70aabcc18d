"""Which convention names make, and what becomes of each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.handlers.guest.conventions import (
    DJL,
    DJL_FORMATTERS,
    MARKS,
    NAMES,
    NATIVE,
    SCRIPT,
    STANDARDS,
    TITLES,
    recognise,
)


@pytest.mark.parametrize(
    ("names", "convention", "steps"),
    [
        ({"before"}, NATIVE, ["before"]),
        ({"before", "during", "after", "other"}, NATIVE, ["before", "during", "after"]),
        ({"input_fn", "output_fn", "model_fn"}, SCRIPT, ["load", "before", "after"]),
        ({"handle"}, DJL, ["before"]),
        ({MARKS["djl_input"]}, DJL_FORMATTERS, ["before"]),
        ({MARKS["standards_input"], "custom_sagemaker_ping_handler"}, STANDARDS, ["before", None]),
    ],
)
def test_convention_follows_from_names(names: set[str], convention: str, steps: list[str | None]) -> None:
    """Each convention's functions are found, with the step they run in."""
    found = recognise(names)
    assert (found.convention, [each.step for each in found.findings]) == (convention, steps)
    assert found.problems == ()


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (set(), "defines none of the functions"),
        ({"before", "handle"}, "mixes"),
        ({"input_fn", "predict_fn"}, "the model is what the policy's targets serve"),
        ({"transform_fn"}, "the model is what the policy's targets serve"),
        ({"model_fn"}, "no function that runs with a request"),
        ({"custom_sagemaker_ping_handler"}, "no function that runs with a request"),
        ({"custom_sagemaker_invocation_handler"}, "takes the place of the engine"),
    ],
)
def test_what_cannot_serve_is_explained(names: set[str], text: str) -> None:
    """A refusal says why and what to do."""
    assert any(text in each.text for each in recognise(names).problems)


@given(st.sets(st.sampled_from(sorted({*NAMES, *MARKS.values(), "helper"}))))
def test_every_file_is_of_one_convention_or_refused(names: set[str]) -> None:
    """There is no third case, and no name of a convention goes unmentioned."""
    found = recognise(names)
    assert (found.convention in TITLES) or found.problems
    assert {each.name for each in found.findings} >= names - {"helper"}
