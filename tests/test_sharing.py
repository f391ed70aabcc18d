"""How the tests are shared out between the processes of `make test`."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from tests.sharing import ALONE, LONG, SHARED, Sharing, ordered, unit

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("nodeid", "name"),
    [
        ("tests/policies/test_choose.py::TestX::test_a[b::c]", "tests/policies/test_choose.py"),
        ("tests/contract/test_answers.py::test_a", "contract"),
        ("tests/contract/test_kill.py::test_b", "contract"),
        ("tests/chaos/test_names.py::test_a", "chaos"),
        ("tests/test_make.py::TestFreshCheckout::test_a", "checkout"),
        (f"{ALONE}::test_a[one]", f"{ALONE}::test_a[one]"),
    ],
)
def test_what_stays_together(nodeid: str, name: str) -> None:
    """A module does, and modules that share what takes long to start; each mutant is on its own."""
    assert unit(nodeid) == name


def test_every_name_is_there() -> None:
    """A module that moved would lose its place without a word."""
    paths = [*SHARED, ALONE, *(name for name in LONG if name not in SHARED.values())]
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert set(SHARED.values()) <= set(LONG)


def test_all_that_use_a_fresh_checkout_share_one() -> None:
    """`make setup` runs once, not once in each process."""
    users = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if re.search(r"def \w+\([^)]*\b(checkout: Path|quickstart: Program)", path.read_text())
    ]
    assert users
    assert {path: unit(path) for path in users} == dict.fromkeys(users, "checkout")


def test_the_long_ones_come_first_and_mutants_last() -> None:
    """Nothing else changes its place."""
    given = [
        f"{ALONE}::b",
        "tests/a.py::a",
        "tests/chaos/x.py::a",
        f"{ALONE}::a",
        "tests/a.py::b",
        "tests/contract/x::a",
    ]
    items = cast("list[pytest.Item]", [SimpleNamespace(nodeid=nodeid) for nodeid in given])
    assert [item.nodeid for item in ordered(items)] == [
        "tests/contract/x::a",
        "tests/chaos/x.py::a",
        "tests/a.py::a",
        "tests/a.py::b",
        f"{ALONE}::b",
        f"{ALONE}::a",
    ]


class Process:
    """A process of xdist's, which notes what it is given."""

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.shutting_down = False
        self.given: list[int] = []

    def send_runtest_some(self, numbers: list[int]) -> None:
        self.given += numbers

    def shutdown(self) -> None:
        self.shutting_down = True


def test_a_process_gets_whole_units_and_the_next_when_it_is_nearly_done() -> None:
    """What is left when the long ones are nearly over goes to whoever is done first."""
    config = SimpleNamespace(
        option=SimpleNamespace(loadscopereorder=True, debug=None), getvalue=lambda _: ["popen", "popen"]
    )
    sharing = Sharing(cast(pytest.Config, config), None)
    contract = [f"tests/contract/{name}.py::test" for name in "abcd"]
    chaos = [f"tests/chaos/{name}.py::test" for name in "abcd"]
    collected = [*contract, *chaos, "tests/a.py::a", "tests/a.py::b", f"{ALONE}::a", f"{ALONE}::b"]
    first, second = Process("gw0"), Process("gw1")
    for process in (first, second):
        sharing.add_node(process)
        sharing.add_node_collection(process, collected)
    sharing.schedule()
    assert ([collected[n] for n in first.given], [collected[n] for n in second.given]) == (contract, chaos)
    for number in (4, 5):
        sharing.mark_test_complete(second, number)
    assert second.given == [4, 5, 6, 7, 8, 9]
    for number in (6, 7):
        sharing.mark_test_complete(second, number)
    assert [collected[n] for n in second.given[6:]] == [f"{ALONE}::a"]
    sharing.mark_test_complete(first, 0)
    sharing.mark_test_complete(first, 1)
    assert [collected[n] for n in first.given[4:]] == [f"{ALONE}::b"]
