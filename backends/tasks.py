"""The one place that starts a task, so that every task has a name and an owner who awaits or cancels it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


def start(coroutine: Coroutine[object, object, T], *, name: str) -> asyncio.Task[T]:
    """Start `coroutine`; the caller keeps the returned task and ends it."""
    return asyncio.create_task(coroutine, name=name)  # noqa: TID251 - the one allowed place


async def end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel `tasks`, and wait until they are over, however they end."""
    ending = list(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)


def running() -> Mapping[str, int]:
    """How many tasks the loop has, by name; those that a library started without one by the coroutine they run.

    What differs between two of a name stands behind its first space and is left out.
    """
    return Counter(map(_kind, asyncio.all_tasks()))


def _kind(task: asyncio.Task[object]) -> str:
    name = task.get_name()
    if name.startswith("Task-"):  # asyncio's own naming
        name = getattr(task.get_coro(), "__qualname__", name)
    return name.partition(" ")[0]
