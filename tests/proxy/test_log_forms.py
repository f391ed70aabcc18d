"""Lines of requests as they come: the same as each by itself, byte for byte."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from backends.base import Usage
from backends.outcome import Course, Note, Outcome, outcome_of
from proxy.log_forms import Lines
from proxy.log_lines import line
from tests.outcomes import notes, outcomes


def alone(request: Outcome | Note) -> bytes:
    return line(outcome_of(request) if isinstance(request, tuple) else request)


@given(st.lists(notes(), min_size=1, max_size=3), st.lists(outcomes, max_size=2), st.data())
@settings(max_examples=100)
def test_lines_of_a_batch_are_the_lines_of_each(
    several: list[Note], others: list[Outcome], data: st.DataObject
) -> None:
    """In their order; whatever a form was made of, what follows on the same course fits into it, or is not put in."""
    of_the_same = [data.draw(notes(st.just(each[0]))) for each in several]
    all_of_them: list[Outcome | Note] = [*several, *of_the_same, *others]
    requests = data.draw(st.permutations(all_of_them))
    lines = Lines()
    assert lines.of(requests) == [alone(each) for each in requests]
    assert lines.of(requests) == [alone(each) for each in requests]


def test_a_course_keeps_one_form_whatever_its_requests_had() -> None:
    """An engine may count the tokens of one answer and not of the next; one may be a stream, and another whole."""
    course = Course("e", None, "InvokeEndpoint", "p/1", "why", None, "gpu", "vllm", 0)
    named: Note = (course, "r", 0.0, 0.2, 0.1, 0.1, (0.1, 0.05), 1, 2, 9, Usage(3, 4), "theirs", "call", "trace", "me")
    plain: Note = (course, "r", 0.0, 0.2, 0.1, 0.1, None, 1, 2, 0, None, None, None, None, None)
    lines = Lines()
    assert lines.of([named]) == [alone(named)]
    form = course.form
    assert lines.of([plain, named]) == [alone(plain), alone(named)]
    assert course.form is form


def test_a_text_that_looks_like_a_hole_is_text() -> None:
    """Whoever writes policies may name things as they like."""
    course = Course("e", ',"owner":\0?', "InvokeEndpoint", "p/1", "100 %b", "\0b", "gpu", "vllm", 0)
    note: Note = (course, "r", 0.0, 0.2, 0.1, 0.1, None, 1, 2, 0, None, None, None, None, None)
    assert Lines().of([note]) == [alone(note)]
