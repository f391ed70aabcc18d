"""Memory that workers share, and a successor goes on with."""

from __future__ import annotations

import os
from contextlib import ExitStack

import pytest

from backends.owners import Owners, new_memory
from policies.quotas import Quota, Rate
from proxy import replays
from proxy.workers.memory import NOTHING, memory_of
from proxy.workers.messages import Legacy

ONE = Quota("us", requests=Rate(1.0, 60.0))


@pytest.mark.parametrize("signs", [False, True])
def test_the_first_one_makes_it(signs: bool) -> None:
    """Quotas always have it, signatures where anybody signs; no child keeps it by chance; closed at the end."""
    with ExitStack() as parts:
        memory = memory_of(None, parts, signs=signs)
        assert (memory.replays >= 0) is signs
        assert len(memory.descriptors) == 1 + signs
        assert not any(map(os.get_inheritable, memory.descriptors))
    for each in memory.descriptors:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(each)
    assert NOTHING.descriptors == []


def test_a_successor_goes_on_with_what_was_left() -> None:
    """Also with signatures that it would not ask for: the workers of before still do."""
    left = Legacy(3, 4, 9, replays.new_memory(), (), new_memory())
    Owners(left.quotas).admit(ONE, 10.0)
    with ExitStack() as parts:
        memory = memory_of(left, parts, signs=False)
        assert (memory.replays, memory.quotas) == (left.replays, left.quotas)
        assert Owners(memory.quotas).admit(ONE, 10.0) is not None


def test_one_of_an_older_release_leaves_no_quotas() -> None:
    """They begin anew then."""
    with ExitStack() as parts:
        memory = memory_of(Legacy(3, 4, 9), parts, signs=False)
        assert Owners(memory.quotas).admit(ONE, 10.0) is None
