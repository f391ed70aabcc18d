"""Two supervisors, one after the other: what the old one leaves, and what the new one says."""

from __future__ import annotations

import os
import socket
import sys

import pytest

from backends.tasks import start
from proxy.workers.channel import channel_of
from proxy.workers.handover import (
    TAKE_OVER,
    CannotSucceed,
    alone,
    is_first_process,
    own_command,
    predecessor_of,
    start_successor,
)
from proxy.workers.messages import Legacy, Ready

pytestmark = pytest.mark.slow

SUCCESSOR = """
import asyncio, os
from proxy.workers.handover import predecessor_of
async def main():
    before = await predecessor_of(os.environ)
    os.fstat(before.legacy.listening)
    taken = await before.took(f"{before.legacy.generation}/{before.legacy.admin >= 0}")
    print(taken, await before.counted(), flush=True)
asyncio.run(main())
"""


async def test_a_successor_takes_over_and_hears_the_last_word(capfd: pytest.CaptureFixture[str]) -> None:
    """The sockets are its own, and what was counted comes twice: when it takes over, and at the end."""
    with socket.create_server(("127.0.0.1", 0)) as clients, socket.create_server(("127.0.0.1", 0)) as operators:
        successor = await start_successor([sys.executable, "-c", SUCCESSOR], {**os.environ}, (clients, operators), 7)
        assert await successor.ready()
        successor.take("until now")
        await successor.leave("in all")
        assert await successor._process.wait() == 0
    assert capfd.readouterr().out == "until now in all\n"


@pytest.mark.parametrize("code", ["raise SystemExit(2)", "import signal; signal.pause()"])
async def test_a_successor_that_can_not_serve_is_ended(code: str) -> None:
    """Whether it ended by itself or says nothing; the old one goes on."""
    with socket.create_server(("127.0.0.1", 0)) as clients:
        successor = await start_successor([sys.executable, "-c", code], {**os.environ}, (clients, None), 1)
        assert not await successor.ready(2.0)
    with pytest.raises(ProcessLookupError):
        os.kill(successor.pid, 0)


async def test_a_successor_that_can_not_be_started_leaves_no_line() -> None:
    """The interpreter may have gone with the old release."""
    with socket.create_server(("127.0.0.1", 0)) as clients, pytest.raises(FileNotFoundError):
        await start_successor(["/nowhere/python"], {**os.environ}, (clients, None), 1)


async def test_nobody_is_succeeded_without_the_variable() -> None:
    """As at every ordinary start."""
    assert await predecessor_of({}) is None
    assert alone({TAKE_OVER: "7", "HOME": "/"}) == {"HOME": "/"}
    assert not is_first_process()
    assert own_command()[0] == sys.executable


@pytest.mark.parametrize("told", ["seven", "987654"])
async def test_a_variable_that_somebody_set_by_hand_is_refused(told: str) -> None:
    """With what to do about it."""
    with pytest.raises(CannotSucceed, match=f"unset {TAKE_OVER}"):
        await predecessor_of({TAKE_OVER: told})


async def test_a_line_that_ends_at_once_leaves_nothing() -> None:
    """The supervisor that started this one was killed."""
    ours, theirs = socket.socketpair()
    ours.close()
    looks = start(predecessor_of({TAKE_OVER: str(theirs.detach())}), name="looks")
    with pytest.raises(CannotSucceed, match="ended before"):
        await looks


async def test_who_is_killed_before_the_turn_leaves_the_ports_all_the_same() -> None:
    """The new one serves already: it takes the admin port and counts from nothing."""
    ours, theirs = socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as clients:
        old = await channel_of(ours)
        old.tell(Legacy(clients.fileno(), -1, 3))
        before = await predecessor_of({TAKE_OVER: str(theirs.detach())})
        assert before is not None
        takes = start(before.took("digest/4"), name="takes")
        assert await old.hear() == Ready("digest/4")
        await old.close()
        assert await takes is None
        assert await before.counted() is None
