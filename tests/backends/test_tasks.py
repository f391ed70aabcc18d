"""Tasks have names and owners."""

from __future__ import annotations

import asyncio

from backends.tasks import end, running, start


async def test_a_task_runs_under_its_name() -> None:
    """A dump of tasks says what each is for, and the owner gets the result."""

    async def work() -> int:
        return 7

    task = start(work(), name="work")
    assert (task.get_name(), await task) == ("work", 7)


async def test_tasks_are_ended_however_they_end() -> None:
    """One that waits, one that is over, and one that fails when it is cancelled; whoever ends them hears of nothing."""

    async def spoilt() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            message = "spoilt"
            raise RuntimeError(message)

    async def over() -> None:
        return None

    async def waits() -> None:
        await asyncio.Event().wait()

    tasks = [start(each, name="each") for each in (spoilt(), over(), waits())]
    await tasks[1]
    await end(iter(tasks))
    assert [(task.done(), task.cancelled()) for task in tasks] == [(True, False), (True, False), (True, True)]


async def test_running_tasks_are_counted_by_what_they_are() -> None:
    """Two of a name are two of a kind, whatever stands behind it; one without a name is called after its coroutine."""
    leave = asyncio.Event()

    async def unnamed() -> None:
        await leave.wait()

    before = running()
    tasks = [
        start(leave.wait(), name="look-up a"),
        start(leave.wait(), name="look-up b"),
        asyncio.create_task(unnamed()),
    ]
    found = {name.rpartition(".")[2]: count - before.get(name, 0) for name, count in running().items()}
    assert {name: count for name, count in found.items() if count} == {"look-up": 2, "unnamed": 1}
    leave.set()
    await asyncio.gather(*tasks)
