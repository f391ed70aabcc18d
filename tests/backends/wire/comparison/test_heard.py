"""What came back: when it counts as an answer, and what its pace was."""

from __future__ import annotations

import pytest

from backends.wire.comparison import Cadence, Heard


@pytest.mark.parametrize(
    ("heard", "answered"),
    [
        (Heard(), True),
        (Heard(status=424), False),
        (Heard(error="ModelError"), False),
        (Heard(broken=True), False),
        (Heard(status=302), False),
    ],
)
def test_only_a_whole_success_is_an_answer(heard: Heard, answered: bool) -> None:
    """A status beyond 2xx, an error type or a broken stream is none."""
    assert heard.answered == answered


@pytest.mark.parametrize(
    ("gaps", "expected"), [((), 0.0), ((0.3,), 0.3), (tuple(range(100)), 95.0), (tuple(range(99, -1, -1)), 95.0)]
)
def test_gap_is_a_quantile_of_all_gaps(gaps: tuple[float, ...], expected: float) -> None:
    """One long gap in twenty is seen, in whatever order they came; no gaps are no wait."""
    assert Cadence(0.1, gaps).gap() == expected
