"""Problems as they are collected, and names that are looked up."""

from policies.findings import Findings, Names, nearest

from .written import target


def names() -> Names:
    return Names({"a": target("a")}, frozenset({"a", "refused"}), frozenset(), Findings(lambda path: len(path)))


def test_nearest_name_is_offered() -> None:
    """A mistyped name gets the one that was probably meant."""
    assert nearest("tmeout", ("owner", "timeout")) == "; did you mean `timeout`?"


def test_all_names_are_offered_when_none_is_near_and_they_are_few() -> None:
    """A short list is worth more than nothing; a long one is not."""
    assert nearest("zzz", ("a", "b")) == "; known here: a, b"
    assert nearest("zzz", tuple(f"name{number}" for number in range(50))) == ""
    assert nearest("zzz", ()) == ""


def test_name_that_exists_is_found_without_a_word() -> None:
    """Looking up what exists leaves no trace."""
    known = names()
    assert known.find("a", ("x",)) == target("a")
    assert known.findings.problems == []


def test_name_that_does_not_exist_is_a_problem_at_its_place() -> None:
    """The problem has the path and line of the reference."""
    known = names()
    assert known.find("aa", ("x", "y")) is None
    problem = known.findings.problems[0]
    assert (problem.path, problem.line) == ("x.y", 2)
    assert problem.message == "no target is called `aa`; did you mean `a`?"


def test_name_whose_own_block_was_refused_is_no_second_problem() -> None:
    """One mistake gives one line in the report."""
    known = names()
    assert known.find("refused", ("x",)) is None
    assert known.findings.problems == []
