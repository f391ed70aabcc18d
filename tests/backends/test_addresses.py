"""Where the requests to targets go: made once a target, and anew for one that is another."""

from __future__ import annotations

from dataclasses import replace

from backends.addresses import KEPT, AddressBook
from policies.table import EndpointSpec, Target

TARGET = Target("t", "endpoint", EndpointSpec("e"))


class Maker:
    """Makes addresses, and remembers for whom."""

    def __init__(self) -> None:
        self.asked: list[Target] = []

    def make(self, target: Target) -> str:
        self.asked.append(target)
        return f"http://h/{target.name}"


def test_addresses_are_made_once_a_target() -> None:
    """Whatever is asked for later, of the same target they are the same."""
    maker = Maker()
    book = AddressBook(maker.make)
    assert [book.of(TARGET) for _ in range(3)] == ["http://h/t"] * 3
    assert maker.asked == [TARGET]


def test_a_target_of_another_policy_gets_its_own() -> None:
    """One of the same name, as after a reload, is not taken for the one that was known."""
    maker = Maker()
    book = AddressBook(maker.make)
    changed = replace(TARGET, spec=EndpointSpec("another"))
    for target in (TARGET, changed, changed):
        book.of(target)
    assert maker.asked == [TARGET, changed]


def test_what_is_known_is_bounded() -> None:
    """One target is forgotten, and made again when it is called again."""
    maker = Maker()
    book = AddressBook(maker.make)
    for number in range(KEPT + 1):
        book.of(replace(TARGET, name=f"t{number}"))
    assert len(book._known) == KEPT
    assert len(maker.asked) == KEPT + 1
