"""Changed files of handlers, asked for by workers that the test plays: tried by one before the others."""

from __future__ import annotations

import pytest

from proxy.workers.messages import Changed, NewPolicy

from .parts import Played, told, until
from .test_pool import Stage, serving


def tries(worker: Played) -> int:
    """How often it was told a policy."""
    return sum(isinstance(message, NewPolicy) for message in worker.heard)


def ask(worker: Played, *versions: str) -> None:
    """As each worker does with every look."""
    worker.channel.tell(Changed(list(versions)))


async def test_it_is_in_force_in_one_and_then_in_all(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever asks: they are told the policy in force anew, one first, then the others."""
    caplog.set_level("INFO")
    stage = Stage()
    async with serving(stage, workers=3):
        ask(stage.started[2], "a")
        await until(lambda: [tries(worker) for worker in stage.started] == [1, 1, 1])
        assert [message for message in stage.started[0].heard if isinstance(message, NewPolicy)] == [NewPolicy(told(1))]
        await until(lambda: "a changed handler is in force" in caplog.text)


@pytest.mark.parametrize("falls", [False, True])
async def test_what_the_first_can_not_use_is_tried_by_no_other(falls: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Not though they ask for it with every look, nor beside another change: only once it has changed itself."""

    def prepare(worker: Played) -> None:
        worker.ready = len(stage.started) < 2  # who comes in place of one that fell hangs as it did

    stage = Stage(prepare)
    async with serving(stage) as pool:
        first, second = stage.started
        if falls:
            first.falls = True
        else:
            first.refuses = (("endpoints.chat.handler", 3, "model.py: broken"),)
        ask(second, "a")
        await until(lambda: "a changed handler is not used, the one before it goes on" in caplog.text)
        for versions in (("a",), ("a", "b")):
            ask(second, *versions)
            await until(lambda: not pool._changed.is_set() and pool._asked == frozenset(versions))  # noqa: B023 - awaited here
        assert (tries(first), tries(second)) == (1, 0)
        first.refuses = ()
        ask(second, "c")
        await until(lambda: tries(second) == 1)


@pytest.mark.parametrize("how", ["operator", "worker"])
async def test_what_was_refused_is_tried_again(how: str, caplog: pytest.LogCaptureFixture) -> None:
    """By the next reload, and when a worker that has started since could load it: it may have been something else."""
    stage = Stage()
    async with serving(stage) as pool:
        first, second = stage.started
        first.refuses = (("endpoints.chat.handler", 3, "model.py: too little memory"),)
        ask(second, "a")
        await until(lambda: "model.py: too little memory" in caplog.text)
        first.refuses = ()
        if how == "operator":
            pool.try_again()
        else:
            first.end(-9)
            await until(lambda: len(stage.started) == 3 and stage.started[2].accepts)
        ask(second, "a")
        await until(lambda: tries(second) == 1)


async def test_one_that_can_not_use_what_another_could_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    """By the handler that it has: replaced by one that starts with what is on disk now, there might be none."""
    stage = Stage()
    async with serving(stage) as pool:
        stage.started[1].refuses = (("endpoints.chat.handler", 3, "model.py: broken"),)
        ask(stage.started[1], "a")
        await until(
            lambda: "worker 1 can't use the changed handler that another could: model.py: broken" in caplog.text
        )
        ask(stage.started[1], "a")
        await until(lambda: not pool._changed.is_set())
        ask(stage.started[1], "b")
        await until(lambda: tries(stage.started[1]) == 2)
        assert (tries(stage.started[0]), pool.serving, stage.ended) == (2, 2, [])


async def test_a_policy_waits_for_the_handlers_that_are_tried() -> None:
    """A worker is told one thing at a time: of two verdicts it could not be known what they speak of."""
    stage = Stage()
    async with serving(stage) as pool:
        first, second = stage.started
        first.deaf = True
        ask(second, "a")
        await until(lambda: tries(first) == 1)
        adopts = pool.adopt(told(2))
        first.end(-9)
        await adopts
        await until(lambda: NewPolicy(told(2)) in second.heard)
        assert NewPolicy(told(1)) not in second.heard
