"""Tasks have names and owners."""

from __future__ import annotations

from backends.tasks import start


async def test_a_task_runs_under_its_name() -> None:
    """A dump of tasks says what each is for, and the owner gets the result."""

    async def work() -> int:
        return 7

    task = start(work(), name="work")
    assert (task.get_name(), await task) == ("work", 7)
