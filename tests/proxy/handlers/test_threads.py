"""A handler in threads: answered in time, slots that are lost and come back."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from proxy.handlers.errors import HandlerError, LoadError
from proxy.handlers.guest.values import Call, Question, Reply
from proxy.handlers.runs import Limit, Run
from proxy.handlers.threads import Threads
from tests.proxy.handlers.customers import before, call, limit, loaded, write

HANGS = """
import threading
began, go = threading.Event(), threading.Event()
def before(call):
    if call.body == b"hang":
        began.set()
        go.wait(60)
    return threading.current_thread().name
"""


async def asked(run: Run, body: bytes = b"", seconds: float = 60.0) -> bytes:
    given: Call = await before(run, call(body), limit(seconds))
    return given.body


async def test_hooks_run_beside_the_loop(tmp_path: Path) -> None:
    """In a thread of the handler's own, and no more of them than the policy gives."""
    async with loaded(write(tmp_path, HANGS), "thread", workers=2) as run:
        names = await asyncio.gather(*(asked(run) for _ in range(20)))
        assert 1 <= len(set(names)) <= 2
        assert not any(name == threading.main_thread().name.encode() for name in names)


async def test_hook_that_hangs_is_answered_in_time_and_its_slot_comes_back(tmp_path: Path) -> None:
    """The slot is lost, requests fail at once when too many are, and it is back when the hook ends."""
    file = write(tmp_path, HANGS)
    async with loaded(file, "thread", workers=2, fail_after=1) as run:
        hook = run._loaded.program._hooks["before"]  # type: ignore[attr-defined]  # the customer's own module
        go = hook.__globals__["go"]
        with pytest.raises(HandlerError) as caught:
            await asked(run, b"hang", 0.05)
        assert (caught.value.reason, caught.value.timed_out) == ("timed_out", True)
        with pytest.raises(HandlerError) as caught:
            await asked(run)
        assert caught.value.reason == "refused"
        go.set()
        async with asyncio.timeout(60):
            while run._lost:  # type: ignore[attr-defined]  # noqa: ASYNC110 - what the next request looks at
                await asyncio.sleep(0.001)
        assert await asked(run)


async def test_no_thread_free_in_time_is_busy(tmp_path: Path) -> None:
    """Waiting for a slot is no fault of the one who waits: 503, and nothing is lost by it."""
    async with loaded(write(tmp_path, HANGS), "thread", workers=1, fail_after=1) as run:
        module = run._loaded.program._hooks["before"].__globals__  # type: ignore[attr-defined]  # as above
        first = asyncio.ensure_future(asked(run, b"hang"))
        await asyncio.to_thread(module["began"].wait, 60)
        with pytest.raises(HandlerError) as caught:
            await asked(run, b"", 0.05)
        assert (caught.value.reason, caught.value.status) == ("busy", 503)
        module["go"].set()
        assert await first


async def test_clients_that_leave_lose_no_thread(tmp_path: Path) -> None:
    """A hook that nobody waits for is not late for that: others are served beside it."""
    async with loaded(write(tmp_path, HANGS), "thread", workers=2, fail_after=1) as run:
        module = run._loaded.program._hooks["before"].__globals__  # type: ignore[attr-defined]  # as above
        leaving = asyncio.ensure_future(asked(run, b"hang"))
        await asyncio.to_thread(module["began"].wait, 60)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        assert await asked(run)
        module["go"].set()


async def test_hook_that_hangs_after_its_client_left_is_lost_at_its_limit(tmp_path: Path) -> None:
    """Once it has had the time that it would have been waited for, and until it ends."""
    async with loaded(write(tmp_path, HANGS), "thread", workers=2, fail_after=1) as run:
        module = run._loaded.program._hooks["before"].__globals__  # type: ignore[attr-defined]  # as above
        leaving = asyncio.ensure_future(asked(run, b"hang", 1.0))
        await asyncio.to_thread(module["began"].wait, 60)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        async with asyncio.timeout(60):
            while not run._lost:  # type: ignore[attr-defined]  # noqa: ASYNC110 - what the next request looks at
                await asyncio.sleep(0.001)
            module["go"].set()
            while run._lost:  # type: ignore[attr-defined]  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.001)
        assert await asked(run)


ASKS = """
async def before(call):
    if call.body == b"ask":
        await call.invoke("other", "x")
"""


@pytest.mark.parametrize("ends", ["client", "deadline"])
async def test_what_a_hook_asked_ends_with_its_request_and_no_thread_is_lost(tmp_path: Path, ends: str) -> None:
    """The other model is asked no longer, and the hook goes on with an exception."""
    began, given_up = asyncio.Event(), asyncio.Event()

    async def invoke(_: Question) -> Reply:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()
        return Reply(b"", None)

    async with loaded(write(tmp_path, ASKS), "thread", workers=1, fail_after=1) as run:
        allowed = Limit(30.0, asyncio.get_running_loop().time() + (1.0 if ends == "deadline" else 60.0))
        asking = asyncio.ensure_future(before(run, call(b"ask", invoke=invoke), allowed))
        async with asyncio.timeout(60):
            if ends == "client":
                await began.wait()
                asking.cancel()
            failed: object = (await asyncio.gather(asking, return_exceptions=True))[0]
            assert isinstance(failed, asyncio.CancelledError if ends == "client" else HandlerError)
            assert await asked(run) == b""
            await given_up.wait()


PERSISTS = """
async def before(call):
    while call.body == b"ask":
        try:
            await call.invoke("other", "x")
        except BaseException as error:
            if "first" not in call.state:
                call.state["first"] = 1
                continue
            raise
"""


@pytest.mark.parametrize("kind", ["thread", "process"])
async def test_what_a_hook_asks_once_its_request_is_over_is_not_asked(tmp_path: Path, kind: str) -> None:
    """One that takes the exception for the other model's, and asks it again, gets another and ends."""
    began, questions = asyncio.Event(), 0

    async def invoke(_: Question) -> Reply:
        nonlocal questions
        questions += 1
        began.set()
        await asyncio.Event().wait()
        return Reply(b"", None)

    async with loaded(write(tmp_path, PERSISTS), kind, workers=1) as run, asyncio.timeout(60):
        asking = asyncio.ensure_future(before(run, call(b"ask", invoke=invoke), limit()))
        await began.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert await asked(run) == b""
    assert questions == 1


async def test_failure_that_nobody_waits_for_is_silent(tmp_path: Path) -> None:
    """A hook that raises after its request was given up troubles nobody."""
    source = """
    import threading
    began, go = threading.Event(), threading.Event()
    def before(call):
        began.set()
        go.wait(60)
        raise ValueError("late")
    """
    async with loaded(write(tmp_path, source), "thread", workers=1) as run:
        module = run._loaded.program._hooks["before"].__globals__  # type: ignore[attr-defined]  # as above
        first = asyncio.ensure_future(asked(run))
        await asyncio.to_thread(module["began"].wait, 60)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        module["go"].set()
        with pytest.raises(HandlerError, match="failed"):
            await asked(run)


async def test_djl_handle_runs_in_a_thread(tmp_path: Path) -> None:
    """Its generate call is asked in the proxy's loop while it blocks."""
    source = """
    from djl_python import Output
    from djl_python.huggingface import handle as default
    def handle(inputs):
        return None if inputs.is_empty() else default(inputs)
    """

    async def invoke(question: Question) -> Reply:
        assert threading.current_thread() is threading.main_thread()
        return Reply(question.body * 2, "text/plain")

    async with loaded(write(tmp_path, source), "thread") as run:
        given = await before(run, call(b"x", invoke=invoke))
        assert (given.body, isinstance(given, Call)) == (b"xx", False)


async def test_file_that_cannot_be_loaded(tmp_path: Path) -> None:
    """The error names the file."""
    file = write(tmp_path, "raise ValueError('no')\n")
    with pytest.raises(LoadError, match=str(file)):
        async with loaded(file, "thread"):
            pass


async def test_turn_that_came_too_late_is_the_next_ones(tmp_path: Path) -> None:
    """Who leaves in the moment a thread comes free does not take the turn along."""
    async with loaded(write(tmp_path, HANGS), "thread", workers=1) as run:
        assert isinstance(run, Threads)
        slot = await run.take(under_way=False)
        leaves, stays = (asyncio.ensure_future(run.take(under_way=False)) for _ in range(2))
        await asyncio.sleep(0)
        run.give(slot)
        leaves.cancel()
        async with asyncio.timeout(60):
            assert await stays is slot
        run.give(slot)


async def test_those_whose_model_has_answered_go_first(tmp_path: Path) -> None:
    """A thread that comes free is theirs, though others have waited for longer."""
    async with loaded(write(tmp_path, HANGS), "thread", workers=1) as run:
        assert isinstance(run, Threads)
        slot = await run.take(under_way=False)
        fresh, answered = (asyncio.ensure_future(run.take(under_way=each)) for each in (False, True))
        await asyncio.sleep(0)
        for each in (answered, fresh):
            run.give(slot)
            async with asyncio.timeout(60):
                assert await each is slot
        run.give(slot)
