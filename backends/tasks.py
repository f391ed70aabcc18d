"""The one place that starts a task, so that every task has a name and an owner who awaits or cancels it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")


def start(coroutine: Coroutine[object, object, T], *, name: str) -> asyncio.Task[T]:
    """Start `coroutine`; the caller keeps the returned task and ends it."""
    return asyncio.create_task(coroutine, name=name)  # noqa: TID251 - the one allowed place
