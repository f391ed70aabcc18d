"""A handler in processes of its own: hangs, crashes, leaks, and what is left of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.handlers.errors import OVER, HandlerError
from proxy.handlers.guest.values import Call, Question, Reply
from proxy.handlers.processes import Processes
from proxy.handlers.runs import Limit, Run
from tests.proxy.handlers.customers import Request, call, limit, loaded, settled, write

pytestmark = pytest.mark.slow

TROUBLE = """
import asyncio, ctypes, os, subprocess, time
kept = []
async def before(call):
    wish = call.text()
    if wish == "pid":
        return str(os.getpid())
    if wish == "hang":
        while True:
            pass
    if wish == "sleep":
        await asyncio.sleep(600)
    if wish == "exit":
        os._exit(3)
    if wish == "segfault":
        ctypes.string_at(0)
    if wish == "descriptors":
        while True:
            kept.append(os.open("/dev/null", os.O_RDONLY))
    if wish == "memory":
        kept.append(bytearray(64 * 1024 * 1024))
    if wish == "child":
        return str(subprocess.Popen(["sleep", "300"]).pid)
    if wish in {"stateful", "stateful memory"}:
        call.state["pid"] = os.getpid()
        kept.append(bytearray(64 * 1024 * 1024 * (wish == "stateful memory")))
    if wish == "doze":
        await asyncio.sleep(1.5)
    if wish == "gate":
        while not os.path.exists(os.path.join(os.path.dirname(__file__), "open")):
            await asyncio.sleep(0.01)
    if wish == "invoke":
        await call.invoke("other", "x")
        return str(os.getpid())
    if wish == "invoke-exit":
        await call.invoke("other", "x")
        os._exit(3)
    if wish == "variables":
        return {"own": os.environ.get("CUSTOMERS_OWN"), "ours": [n for n in os.environ if n.startswith("POINTSMAN_")]}
def after(reply):
    return {"pid": os.getpid(), "state": reply.call.state, "sent": reply.call.text()}
"""


async def asked(run: Run, wish: str, seconds: float = 30.0, **facts: Any) -> str:
    request = Request(call(wish.encode(), **facts), limit(seconds))
    session = run.open(request)
    try:
        text: str = (await settled(session.before(request, 0.0))).text()
        return text
    finally:
        session.close()


async def failure(run: Run, wish: str, seconds: float = 30.0) -> HandlerError:
    with pytest.raises(HandlerError) as caught:
        await asked(run, wish, seconds)
    return caught.value


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # it went before the file was opened, or before it was read
        return True


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110 - of another process there is no event
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("wish", ["hang", "sleep"])
async def test_hook_over_its_limit_is_killed_and_the_next_request_served(tmp_path: Path, wish: str) -> None:
    """Computing or waiting: the worker goes, another comes."""
    async with loaded(write(tmp_path, TROUBLE), workers=1, fail_after=9) as run:
        first = int(await asked(run, "pid"))
        error = await failure(run, wish, 0.2)
        assert (error.reason, error.timed_out) == ("timed_out", True)
        await until(lambda: gone(first))
        assert int(await asked(run, "pid")) != first


async def test_wait_for_a_worker_that_starts_is_not_the_hooks(tmp_path: Path) -> None:
    """A file that takes longer to load than its hooks may take is served at once after a hook was killed."""
    source = "import time\ntime.sleep(2)\n" + TROUBLE
    async with loaded(write(tmp_path, source), workers=1, fail_after=9) as run:
        assert (await failure(run, "hang", 1.0)).timed_out
        assert await asked(run, "pid", 1.0)


async def test_worker_that_cannot_come_back_fails_those_who_wait(tmp_path: Path) -> None:
    """Each start that fails counts as a crash; at the allowed number nobody is kept waiting any longer."""
    file = write(tmp_path, TROUBLE)
    async with loaded(file, workers=1, fail_after=3) as run:
        waiting = asyncio.ensure_future(failure(run, "exit"))
        file.write_text("raise ValueError('gone bad')\n")
        assert (await waiting).reason == "crashed"
        assert (await failure(run, "pid")).reason == "refused"


@pytest.mark.parametrize("wish", ["exit", "segfault"])
async def test_crash_is_one_requests_failure(tmp_path: Path, wish: str) -> None:
    """The exit status is for the log, and the next request is served."""
    async with loaded(write(tmp_path, TROUBLE), workers=1, fail_after=9) as run:
        error = await failure(run, wish)
        assert error.reason == "crashed"
        assert "the worker ended with status" in (error.trace or "")
        assert await asked(run, "pid")


async def test_leak_of_descriptors_is_the_workers_own(tmp_path: Path) -> None:
    """It ends with an error in the worker; the proxy can still open files."""
    async with loaded(write(tmp_path, TROUBLE), workers=1) as run:
        error = await failure(run, "descriptors", 20.0)
        assert "Too many open files" in (error.trace or "")
        assert write(tmp_path, "", "free.py").exists()


async def test_leak_of_memory_replaces_the_worker(tmp_path: Path) -> None:
    """Beyond the policy's size another worker takes over with the next request already, and none fails for it."""
    async with loaded(write(tmp_path, TROUBLE), workers=1, memory=60 * 1024 * 1024) as run:
        first = int(await asked(run, "pid"))
        await asked(run, "memory")
        assert int(await asked(run, "pid")) != first
        await until(lambda: gone(first))


async def test_handler_that_always_dies_rests(tmp_path: Path) -> None:
    """After so many deaths in a row requests fail at once; an answer in between sets the count back."""
    async with loaded(write(tmp_path, TROUBLE), workers=1, fail_after=2) as run:
        assert (await failure(run, "exit")).reason == "crashed"
        assert await asked(run, "pid")
        assert [(await failure(run, "exit")).reason for _ in range(3)] == ["crashed", "crashed", "refused"]
        assert isinstance(run, Processes)
        run._resting_until = 0.0
        assert await asked(run, "pid")


async def test_late_hooks_are_no_crashes(tmp_path: Path) -> None:
    """However many hooks in a row are over their limit, the next request is served."""
    async with loaded(write(tmp_path, TROUBLE), workers=1, fail_after=2) as run:
        assert [(await failure(run, "hang", 1.0)).reason for _ in range(3)] == ["timed_out"] * 3
        assert await asked(run, "pid")


async def test_nothing_is_left_when_it_stops(tmp_path: Path) -> None:
    """Neither workers nor what the customer's code started."""
    async with loaded(write(tmp_path, TROUBLE), workers=2) as run:
        pids = [int(await asked(run, "pid")), int(await asked(run, "child"))]
        assert not any(gone(pid) for pid in pids)
    await until(lambda: all(gone(pid) for pid in pids))


async def test_busy_workers_are_joined_by_others_up_to_the_number(tmp_path: Path) -> None:
    """Two hooks at a time in two workers; a third waits, and fails as busy when none comes free."""
    async with loaded(write(tmp_path, TROUBLE), workers=2, fail_after=9) as run:
        hanging = [asyncio.ensure_future(asked(run, "sleep", 120.0)) for _ in range(2)]
        await until(lambda: len(run._children) == 2 and not any(child.free for child in run._children))  # type: ignore[attr-defined]  # its workers
        error = await failure(run, "pid", 0.05)
        assert (error.reason, error.status) == ("busy", 503)
        for each in hanging:
            each.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)


async def test_hook_that_waited_for_its_turn_has_its_whole_limit(tmp_path: Path) -> None:
    """One that is no slower than others is not ended, and its worker with it, since it came late to its turn."""
    async with loaded(write(tmp_path, TROUBLE), workers=1, fail_after=9) as run:
        first = await asked(run, "pid")
        await asyncio.gather(*(asked(run, "doze", 2.4) for _ in range(2)))
        assert await asked(run, "pid") == first


async def test_those_whose_model_has_answered_go_first(tmp_path: Path) -> None:
    """What the model has done is not thrown away for requests that have not begun."""
    async with loaded(write(tmp_path, TROUBLE), workers=1, fail_after=9) as run:
        over: list[str] = []
        request = Request(call(b"x"), limit())
        session = run.open(request)
        await settled(session.before(request, 0.0))
        held = asyncio.ensure_future(asked(run, "gate"))
        await until(lambda: not run._children[0].free)  # type: ignore[attr-defined]  # its workers
        fresh = asyncio.ensure_future(asked(run, "pid"))
        fresh.add_done_callback(lambda _: over.append("fresh"))
        await until(lambda: len(run._waiters) == 1)  # type: ignore[attr-defined]  # who waits
        after = asyncio.ensure_future(settled(session.after(request, Reply(b"{}", None, None, call(b"x")), 0.0)))
        after.add_done_callback(lambda _: over.append("under way"))
        await until(lambda: len(run._under_way) == 1)  # type: ignore[attr-defined]  # and who does beside them
        write(tmp_path, "", "open")
        await asyncio.gather(held, fresh, after)
        session.close()
        assert over == ["under way", "fresh"]


async def test_state_that_outlives_its_workers_does_not_bring_ever_more_of_them(tmp_path: Path) -> None:
    """Workers that are replaced and kept for state are as many as the policy's, and newcomers wait for one to go."""
    async with loaded(write(tmp_path, TROUBLE), workers=1, memory=60 * 1024 * 1024) as run:
        sessions = []
        for _ in range(2):
            request = Request(call(b"stateful memory"), limit())
            sessions.append(run.open(request))
            await settled(sessions[-1].before(request, 0.0))
        assert (await failure(run, "pid", 0.5)).reason == "busy"
        assert len(run._children) == 2  # type: ignore[attr-defined]  # its workers
        waiting = asyncio.ensure_future(asked(run, "pid"))
        sessions[0].close()
        assert await waiting
        sessions[1].close()


async def test_hook_that_is_late_by_a_moment_costs_no_other(tmp_path: Path) -> None:
    """Its answer has come in the same turn: what its worker does now is another's."""
    async with loaded(write(tmp_path, TROUBLE), workers=1) as run:
        own = limit(0.2)
        session = run.open(Request(call(b"pid"), own))
        await settled(session.before(Request(call(b"pid"), own), 0.0))
        child = run._children[0]  # type: ignore[attr-defined]  # its worker

        async def answered_too_late(*_: Any) -> None:
            await asyncio.Event().wait()

        child.run = answered_too_late
        with pytest.raises(HandlerError, match="timed_out"):
            await settled(session.after(Request(call(b"pid"), own), Reply(b"", None, None, call(b"pid")), 0.0))
        del child.run
        session.close()
        assert await asked(run, "pid") == str(child._process.pid)


async def test_client_that_leaves_frees_its_worker_in_time(tmp_path: Path) -> None:
    """A hook that nobody waits for is killed when its limit is over."""
    async with loaded(write(tmp_path, TROUBLE), workers=1, fail_after=9) as run:
        first = int(await asked(run, "pid"))
        leaving = asyncio.ensure_future(asked(run, "hang", 2.0))
        await until(lambda: not run._children[0].free)  # type: ignore[attr-defined]  # its workers
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        await until(lambda: gone(first))
        assert int(await asked(run, "pid")) != first


async def test_worker_serves_others_while_a_hook_waits_for_another_model(tmp_path: Path) -> None:
    """`call.invoke` may take long: the one worker runs other hooks meanwhile."""
    go = asyncio.Event()

    async def invoke(_: Question) -> Reply:
        await go.wait()
        return Reply(b"", None)

    async with loaded(write(tmp_path, TROUBLE), workers=1) as run:
        waiting = asyncio.ensure_future(asked(run, "invoke", invoke=invoke))
        await asyncio.sleep(0)
        assert await asked(run, "pid")
        go.set()
        assert await waiting


class Other:
    """Another model, whose answers wait until they may go."""

    def __init__(self) -> None:
        self.began, self.go, self.given_up = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def __call__(self, _: Question) -> Reply:
        self.began.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.given_up.set()
            raise
        return Reply(b"", None)


async def test_client_that_leaves_ends_what_its_hook_asked_and_costs_no_other(tmp_path: Path) -> None:
    """The other model is asked no longer, the hook is told and ends, and whoever waits in the same worker is answered,
    though that takes longer than the hook of the one who left would have been waited for."""
    left, stays = Other(), Other()
    async with loaded(write(tmp_path, TROUBLE), workers=1) as run:
        worker = run._children[0]  # type: ignore[attr-defined]  # its workers
        first = int(await asked(run, "pid"))
        leaving = asyncio.ensure_future(asked(run, "invoke", 30.0, invoke=left))
        waiting = asyncio.ensure_future(asked(run, "invoke", invoke=stays))
        async with asyncio.timeout(60):
            await asyncio.gather(left.began.wait(), stays.began.wait())
            leaving.cancel()
            await left.given_up.wait()
        await until(lambda: len(worker._answers) == 1)
        stays.go.set()
        assert int(await waiting) == int(await asked(run, "pid")) == first


async def test_deadline_that_passes_while_a_hook_asks_costs_no_other(tmp_path: Path) -> None:
    """It was the other model that was late: the worker stays, with all who wait in it."""
    late, stays = Other(), Other()
    async with loaded(write(tmp_path, TROUBLE), workers=1) as run:
        first = int(await asked(run, "pid"))
        waiting = asyncio.ensure_future(asked(run, "invoke", invoke=stays))
        await asyncio.wait_for(stays.began.wait(), 60)
        short = Limit(30.0, asyncio.get_running_loop().time() + 0.5)
        request = Request(call(b"invoke", invoke=late), short)
        with pytest.raises(HandlerError) as caught:
            await settled(run.open(request).before(request, 0.0))
        assert caught.value.timed_out
        stays.go.set()
        assert int(await waiting) == int(await asked(run, "pid")) == first


async def test_hook_is_told_whatever_became_of_what_it_asked(tmp_path: Path) -> None:
    """Also where its request is over: it would wait for ever."""

    async def invoke(_: Question) -> Reply:
        raise RuntimeError(OVER)

    async with loaded(write(tmp_path, TROUBLE), workers=1) as run:
        with pytest.raises(HandlerError) as caught:
            await asked(run, "invoke", invoke=invoke)
        assert caught.value.reason == "raised"
        assert f"RuntimeError: {OVER}" in (caught.value.trace or "")


async def test_handler_that_always_dies_rests_though_it_asks_first(tmp_path: Path) -> None:
    """A question is no answer: it does not set the count of deaths back."""

    async def invoke(_: Question) -> Reply:
        return Reply(b"", None)

    async def reason() -> str:
        with pytest.raises(HandlerError) as caught:
            await asked(run, "invoke-exit", invoke=invoke)
        return caught.value.reason

    async with loaded(write(tmp_path, TROUBLE), workers=1, fail_after=2) as run:
        assert [await reason() for _ in range(3)] == ["crashed", "crashed", "refused"]


async def session_after(run: Run, wish: str, between: Callable[[int], Any]) -> dict[str, Any]:
    request = Request(call(wish.encode()), limit())
    session = run.open(request)
    before = await settled(session.before(request, 0.0))
    assert isinstance(before, Call)
    worker = run._children[0]  # type: ignore[attr-defined]  # its workers
    pid = worker._process.pid
    between(pid)
    await worker.end
    answer: dict[str, Any] = (await settled(session.after(request, Reply(b"x", None), 0.0))).json()
    session.close()
    return answer | {"same": answer["pid"] == pid}


async def test_death_between_before_and_after_costs_only_state(tmp_path: Path) -> None:
    """Requests that left no state go on in another worker; those that did fail rather than go on without it."""
    async with loaded(write(tmp_path, TROUBLE), workers=1, fail_after=9) as run:
        kill = lambda pid: os.kill(pid, signal.SIGKILL)  # noqa: E731 - said where it is used
        answer = await session_after(run, "plain", kill)
        assert (answer["sent"], answer["same"]) == ("plain", False)
        with pytest.raises(HandlerError) as caught:
            await session_after(run, "stateful", kill)
        assert caught.value.reason == "crashed"


async def test_customers_code_gets_no_variables_of_ours(tmp_path: Path) -> None:
    """The admin token is one of them; the customer's own are there."""
    async with loaded(write(tmp_path, TROUBLE)) as run:
        assert json.loads(await asked(run, "variables")) == {"own": "kept", "ours": []}


async def test_worker_that_cannot_come_back(tmp_path: Path) -> None:
    """A file that is broken after a crash: the handler rests, and requests fail at once."""
    file = write(tmp_path, TROUBLE)
    async with loaded(file, workers=1, fail_after=2) as run:
        write(tmp_path, "raise ValueError('broken meanwhile')\n")
        assert (await failure(run, "exit")).reason == "crashed"
        await until(lambda: run._deaths >= 2)  # type: ignore[attr-defined]  # what the next request looks at
        assert (await failure(run, "pid")).reason == "refused"
