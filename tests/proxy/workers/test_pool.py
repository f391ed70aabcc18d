"""The workers of one supervisor, played by the test: started, told, started again, drained."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from backends.tasks import start
from policies.errors import PolicyError
from proxy.workers.child import Child
from proxy.workers.messages import Accept, Answered, Begin, Drain, Failed, Loading, NewPolicy, Question, Told
from proxy.workers.pool import CannotServe, Pace, Pool
from proxy.workers.restarts import STEADY

from .parts import Played, facts, played, told, until


@dataclass
class Stage:
    """Workers as they are started, and what the pool told of those that ended."""

    prepare: Callable[[Played], None] = lambda _: None
    started: list[Played] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    plays: list[asyncio.Task[None]] = field(default_factory=list)
    clock: float = 0.0
    pace: Pace = field(default_factory=Pace)
    broken: int = 0
    """So many starts fail."""
    breaks: bool = False
    """The next worker's end can't be dealt with."""

    def pool(self, workers: int = 2, drain: float = 5.0) -> Pool:
        def ended(number: int, _: Child) -> None:
            self.ended.append(number)
            if self.breaks:
                self.breaks = False
                raise ValueError("unheard of")

        return Pool(workers, self.one, begin, ended, self.now, lambda: 0.0, drain, self.pace)

    def now(self) -> float:
        return self.clock

    async def one(self, number: int) -> Child:
        if self.broken:
            self.broken -= 1
            raise OSError(11, "Resource temporarily unavailable")
        child, worker = await played(number)
        self.prepare(worker)
        self.started.append(worker)
        self.plays.append(start(worker.play(), name="plays"))
        return child


def begin(number: int, policy: Told) -> Begin:
    return Begin(number, {}, policy, 3, 4, None)


@asynccontextmanager
async def serving(stage: Stage, workers: int = 2) -> AsyncIterator[Pool]:
    """A pool that has started; at the end nothing of it is left."""
    pool = stage.pool(workers)
    await pool.start(told(1))
    await pool.let_in()
    yield pool
    await pool.stop()
    assert [slot.state for slot in pool.slots] == ["gone"] * workers
    await asyncio.gather(*stage.plays)


async def test_nobody_accepts_before_they_may() -> None:
    """All could serve: a supervisor that has a predecessor waits for its turn."""
    stage = Stage()
    pool = stage.pool()
    await pool.start(told(1))
    assert [slot.state for slot in pool.slots] == ["ready", "ready"]
    assert not any(worker.accepts for worker in stage.started)
    await pool.let_in()
    await until(lambda: all(worker.accepts for worker in stage.started))
    await pool.stop()
    await asyncio.gather(*stage.plays)


async def test_a_worker_that_ends_before_they_may_lets_nobody_in() -> None:
    """Whoever serves until then had better go on; the worker that could serve is not left."""
    stage = Stage()
    pool = stage.pool()
    await pool.start(told(1))
    stage.started[1].end(-9)
    await until(lambda: stage.ended == [1])
    with pytest.raises(CannotServe, match="signal 9"):
        await pool.let_in()
    assert not stage.started[0].accepts
    await asyncio.gather(*stage.plays)


async def test_all_accept_together_and_end_together() -> None:
    """Nobody accepts before everybody could serve; at the end each is told to drain."""
    stage = Stage()
    async with serving(stage) as pool:
        await until(lambda: all(worker.accepts for worker in stage.started))
        assert pool.serving == 2
    assert [type(message) for message in stage.started[0].heard] == [Begin, Accept, Drain]
    assert sorted(stage.ended) == [0, 1]


@pytest.mark.parametrize("last", ["handlers/model.py: no such file", None])
async def test_a_first_start_that_fails_says_why_and_leaves_nothing(last: str | None) -> None:
    """One worker that can't start is enough: it would not start later, either. The one that could is not left."""
    stage = Stage()

    def prepare(worker: Played) -> None:
        if worker.number == 1:
            worker.ready = False
            if last is not None:
                worker.channel.tell(Failed(last))
            else:
                worker.end(1)

    stage.prepare = prepare
    with pytest.raises(CannotServe, match=last or "exit code 1"):
        await stage.pool().start(told(1))
    assert all(worker.over.is_set() for worker in stage.started)
    await asyncio.gather(*stage.plays)


async def test_a_first_start_without_a_process_says_why() -> None:
    """The machine has no room for another one."""
    stage = Stage(broken=1)
    with pytest.raises(CannotServe, match="could not be started: Resource temporarily unavailable"):
        await stage.pool(1).start(told(1))


async def test_a_worker_that_ends_is_started_again_with_the_newest_policy() -> None:
    """One that had served comes back at once, and accepts without waiting for anybody."""
    stage = Stage()
    async with serving(stage) as pool:
        await pool.adopt(told(2))
        stage.clock = STEADY
        stage.started[1].end(-9)
        await until(lambda: len(stage.started) == 3 and stage.started[2].accepts)
        again = stage.started[2]
        assert (again.number, again.heard[0]) == (1, begin(1, told(2)))
        assert (pool.slots[1].restarts, pool.slots[1].falls, pool.slots[0].restarts) == (1, 0, 0)


async def test_a_crash_loop_is_slowed_down_and_does_not_stop_the_others() -> None:
    """Each further fall is counted; the end does not wait for the next start."""
    stage = Stage()
    async with serving(stage) as pool:
        stage.prepare = lambda worker: worker.end(1)
        stage.started[1].end(1)
        await until(lambda: pool.slots[1].falls == 2)
        assert (pool.slots[0].state, pool.serving) == ("serving", 1)
        stage.prepare = lambda _: None
        stage.broken = 1
        await until(lambda: pool.slots[1].state == "serving")
        assert pool.slots[1].restarts == 3


async def test_a_worker_that_crashes_after_a_long_start_has_served_nobody() -> None:
    """A start that takes longer than what counts as having served is no reason to try again at once."""
    stage = Stage()

    def prepare(worker: Played) -> None:
        stage.clock += 2 * STEADY
        worker.end(1)

    async with serving(stage) as pool:
        stage.prepare = prepare
        stage.started[1].end(1)
        await until(lambda: pool.slots[1].falls == 2)
        stage.prepare = lambda _: None
        await until(lambda: pool.slots[1].state == "serving")


async def test_an_error_around_one_worker_leaves_no_place_empty(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged with its traceback, and another worker is started."""
    stage = Stage()
    async with serving(stage) as pool:
        stage.breaks, stage.clock = True, STEADY
        stage.started[0].end(1)
        await until(lambda: pool.serving == 2 and len(stage.started) == 3)
        assert "could not be dealt with" in caplog.text
        assert "unheard of" in caplog.text


async def test_a_policy_is_tried_by_one_before_all_are_told() -> None:
    """In force there, the others get it."""
    stage = Stage()
    async with serving(stage) as pool:
        await pool.adopt(told(2))
        assert all(NewPolicy(told(2)) in worker.heard for worker in stage.started)


async def test_a_policy_that_the_first_refuses_goes_nowhere() -> None:
    """Its problems are the report."""
    stage = Stage()
    async with serving(stage) as pool:
        stage.started[0].refuses = (("endpoints.chat.handler", 7, "model.py does not load"),)
        with pytest.raises(PolicyError, match=r"policy.yaml:7: endpoints.chat.handler: model.py does not load"):
            await pool.adopt(told(2))
        assert NewPolicy(told(2)) not in stage.started[1].heard


async def test_a_policy_is_tried_by_one_that_speaks() -> None:
    """A worker that stands would keep an urgent change waiting until it is killed, and refuse it then."""
    stage = Stage()
    async with serving(stage) as pool:
        stage.started[0].deaf = True
        assert pool.slots[0].child is not None
        pool.slots[0].child.silent = 5
        adopts = start(pool.adopt(told(2)), name="adopts")
        await until(lambda: all(NewPolicy(told(2)) in worker.heard for worker in stage.started))
        stage.started[0].end(-9)
        await adopts


async def test_a_worker_that_can_not_use_what_another_could_is_replaced() -> None:
    """So that two policies do not stay in force side by side."""
    stage = Stage()
    async with serving(stage) as pool:
        stage.started[1].refuses = (("", 1, "no memory"),)
        await pool.adopt(told(2))
        await until(lambda: len(stage.started) == 3 and stage.started[2].accepts)
        assert stage.started[2].heard[0] == begin(1, told(2))


async def test_a_worker_that_comes_to_another_policy_has_refused() -> None:
    """The same text has to give the same table."""
    stage = Stage()
    async with serving(stage, 1) as pool:
        stage.started[0].comes_to = "another/2"
        with pytest.raises(PolicyError, match="a worker came to another/2 instead of digest/2"):
            await pool.adopt(told(2))


async def test_a_policy_reaches_a_worker_that_was_just_starting() -> None:
    """It accepts with the new one, though it began with the old; with nobody there to try it, it is just the newest."""
    stage = Stage()
    async with serving(stage, 1) as pool:
        stage.prepare = lambda worker: setattr(worker, "ready", False)
        stage.clock = STEADY
        stage.started[0].end(-9)
        await until(lambda: len(stage.started) == 2 and stage.started[1].heard != [])
        await pool.adopt(told(2))
        stage.started[1].get_ready("digest/1")
        await until(lambda: stage.started[1].accepts)
        assert [type(message) for message in stage.started[1].heard] == [Begin, NewPolicy, Accept]


async def test_a_starting_worker_that_refuses_the_newest_policy_is_not_let_in() -> None:
    """Another is started, with the newest from the beginning."""
    stage = Stage()
    async with serving(stage, 1) as pool:

        def prepare(worker: Played) -> None:
            worker.ready, worker.refuses = False, (("", 1, "no memory"),)

        stage.prepare = prepare
        stage.clock = STEADY
        stage.started[0].end(-9)
        await until(lambda: len(stage.started) == 2 and stage.started[1].heard != [])
        await pool.adopt(told(2))
        stage.prepare = lambda _: None
        stage.started[1].get_ready("digest/1")
        await until(lambda: pool.serving == 1)
        assert stage.started[1].killed
        assert stage.started[2].heard[0] == begin(0, told(2))


async def test_the_policy_is_refused_when_the_worker_that_tries_it_falls() -> None:
    """It may have been the policy that made it fall."""
    stage = Stage()
    async with serving(stage) as pool:
        stage.started[0].deaf = True
        adopts = start(pool.adopt(told(2)), name="adopts")
        await until(lambda: NewPolicy(told(2)) in stage.started[0].heard)
        stage.started[0].end(-11)
        with pytest.raises(PolicyError, match="the worker that was to use it ended"):
            await adopts


async def test_a_worker_that_does_not_drain_in_time_is_killed() -> None:
    """The end comes all the same."""
    stage = Stage(pace=Pace(leave=2.0), prepare=lambda worker: setattr(worker, "obeys", worker.number == 0))
    pool = stage.pool(drain=0.0)
    await pool.start(told(1))
    await pool.stop()
    assert [worker.killed for worker in stage.started] == [False, True]
    await asyncio.gather(*stage.plays)


async def test_a_worker_that_says_nothing_any_more_is_killed() -> None:
    """Its loop stands: another takes its place, while one that speaks stays."""
    stage = Stage(pace=Pace(look=0.005, silent=40))
    async with serving(stage) as pool:
        while not stage.started[0].killed:
            stage.started[1].channel.tell(facts())
            await asyncio.sleep(0.005)
        assert not stage.started[1].killed
        stage.clock = STEADY
        await until(lambda: pool.slots[0].restarts == 1)


async def test_a_worker_that_hangs_while_it_loads_is_replaced(caplog: pytest.LogCaptureFixture) -> None:
    """What it loaded is said, and where it stands; one that goes on to something else is waited for."""
    stage = Stage(pace=Pace(look=0.005, load=40, silent=100_000))
    async with serving(stage) as pool:
        stage.prepare = lambda worker: setattr(worker, "ready", False)
        stage.clock = STEADY
        stage.started[1].end(-9)
        await until(lambda: len(stage.started) == 3)
        hangs = stage.started[2]
        hangs.channel.tell(Loading("the handler model.py"))
        await until(lambda: pool.slots[1].hung == 1)
        assert (hangs.shown, hangs.killed, pool.slots[1].falls) == (True, True, 1)
        assert "worker 1 has said nothing for 40 looks while it loaded the handler model.py" in caplog.text
        assert pool.troubles() == [f"worker 1 is gone: {pool.slots[1].ended}"]
        await until(lambda: len(stage.started) == 4)
        slow, child = stage.started[3], pool.slots[1].child
        assert child is not None
        for what in ("first", "second", "third"):
            await until(lambda: child.silent >= 20)
            slow.channel.tell(Loading(what))
            await until(lambda: child.silent < 20)
        slow.get_ready("digest/1")
        await until(lambda: slow.killed or pool.serving == 2)
        assert (slow.killed, child.loading, pool.troubles()) == (False, "third", [])


async def test_a_first_start_that_hangs_says_what_hung() -> None:
    """Nobody would ever hear the ready line; the worker that could serve is not left."""
    stage = Stage(pace=Pace(look=0.005, load=5, silent=100_000))

    def prepare(worker: Played) -> None:
        if worker.number == 1:
            worker.ready = False
            worker.channel.tell(Loading("the handler model.py"))

    stage.prepare = prepare
    with pytest.raises(CannotServe, match=r"the handler model.py; if that only takes long.*--load-time"):
        await stage.pool().start(told(1))
    assert all(worker.over.is_set() for worker in stage.started)
    await asyncio.gather(*stage.plays)


async def test_an_interpreter_that_does_not_start_has_the_longer_of_both_limits() -> None:
    """What it loads is the customer's, and may have a small limit; the machine's pace is not."""
    stage = Stage(pace=Pace(look=0.005, load=1, silent=20), prepare=lambda worker: setattr(worker, "ready", False))
    with pytest.raises(CannotServe, match="said nothing for 20 looks while it started its interpreter"):
        await stage.pool(1).start(told(1))
    await asyncio.gather(*stage.plays)


async def test_a_worker_that_hangs_over_a_new_policy_has_refused_it() -> None:
    """Within the limit of loading, where that is the smaller one; the reason says what it loaded."""
    stage = Stage(pace=Pace(look=0.005, load=5, silent=100_000))
    async with serving(stage) as pool:
        stage.started[0].deaf = True
        with pytest.raises(PolicyError, match=r"said nothing for 5 looks while it put a policy in force"):
            await pool.adopt(told(2))
        assert NewPolicy(told(2)) not in stage.started[1].heard


async def test_every_serving_worker_is_asked() -> None:
    """One that is gone, or does not answer, is left out."""
    stage = Stage()
    async with serving(stage) as pool:
        asks = start(pool.ask("GET", "/admin/limits"), name="asks")
        await until(lambda: all(Question(1, "GET", "/admin/limits") in worker.heard for worker in stage.started))
        stage.started[0].channel.tell(Answered(1, 200, {"limits": [1]}))
        stage.started[1].end(-9)
        assert await asks == {0: Answered(1, 200, {"limits": [1]})}
        refreshes = start(pool.refresh(), name="refreshes")
        await until(lambda: Question(2) in stage.started[0].heard)
        for worker, identity in zip(stage.started, itertools.count(2), strict=False):
            worker.channel.tell(facts(identity, connections=3))
        await until(lambda: pool.facts()[0].connections == 3)
        refreshes.cancel()


async def test_starting_workers_do_not_hold_up_the_end() -> None:
    """They serve nobody, and would hear nothing before they have loaded everything."""
    stage = Stage(prepare=lambda worker: setattr(worker, "ready", False))
    pool = stage.pool()
    starts = start(pool.start(told(1)), name="starts")
    await until(lambda: len(stage.started) == 2)
    starts.cancel()
    await asyncio.gather(starts, return_exceptions=True)
    await pool.stop()
    assert all(worker.killed for worker in stage.started)
    await asyncio.gather(*stage.plays)
