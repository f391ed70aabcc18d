"""How problems read in a report."""

from policies.errors import WARNING, PolicyError, Problem, dotted


def test_report_has_one_line_a_problem_in_the_order_of_the_file() -> None:
    """The text of the error is the whole report: file, line, path and message, top to bottom."""
    error = PolicyError((Problem("b", 9, "late"), Problem("", 2, "early"), Problem("a", 9, "late too")), "p.yaml")
    assert str(error) == "p.yaml:2: early\np.yaml:9: a: late too\np.yaml:9: b: late"
    assert [problem.line for problem in error.problems] == [2, 9, 9]


def test_warning_says_that_it_is_one() -> None:
    """A reader can tell what stops a policy from what does not."""
    assert Problem("a", 1, "odd", WARNING).render("p.yaml") == "p.yaml:1: a: warning: odd"


def test_paths_are_written_as_people_write_them() -> None:
    """Keys are joined by dots, numbers of a list stand in brackets."""
    assert dotted(("endpoints", "x", "expect", 0, "goes_to")) == "endpoints.x.expect[0].goes_to"
    assert dotted(()) == ""
