"""One worker as its supervisor sees it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from backends.tasks import start
from proxy.workers.child import Child, ChildGone, start_child, vitals
from proxy.workers.messages import (
    Accept,
    Answered,
    Facts,
    Failed,
    Kept,
    Loading,
    Message,
    NewPolicy,
    Question,
    Ready,
    Verdict,
)

from .parts import facts, line, told, until


class Process:
    """A process of which nothing is needed."""

    pid = 1
    returncode = None

    async def wait(self) -> int:
        return 0

    def kill(self) -> None:
        raise ProcessLookupError

    def send_signal(self, signal: int) -> None:
        raise ProcessLookupError


async def test_what_it_could_use_is_kept_for_others() -> None:
    """The newest of each file, whoever of the workers has said it."""
    kept = {"keys": "old", "tls_cert": "c"}
    ours, theirs = await line()
    child = Child(Process(), ours, kept)
    listens = start(child.listen(), name="listens")
    theirs.tell(Kept({"keys": "new"}))
    await until(lambda: kept == {"keys": "new", "tls_cert": "c"})
    await theirs.close()
    await listens


async def test_a_worker_gets_ready_and_takes_policies() -> None:
    """What it has in force is known from its answers."""
    ours, theirs = await line()
    child = Child(Process(), ours)
    listens = start(child.listen(), name="listens")
    theirs.tell(Ready("digest/1"))
    assert await child.ready() == "digest/1"
    adopts = start(child.adopt(told(2)), name="adopts")
    assert await theirs.hear() == NewPolicy(told(2))
    assert child.adopting
    theirs.tell(Verdict(2, "digest/2", []))
    assert (await adopts).problems == []
    assert (child.label, child.adopting) == ("digest/2", False)
    await theirs.close()
    await listens


@pytest.mark.parametrize(
    ("last", "why"), [(Failed("no such file"), "no such file"), (None, "ended"), (Accept(), "said")]
)
async def test_whoever_waits_for_a_worker_that_ends_is_told(last: Message | None, why: str) -> None:
    """With its own words, where it had any; also whoever asks afterwards."""
    ours, theirs = await line()
    child = Child(Process(), ours)
    listens = start(child.listen(), name="listens")
    adopts = start(child.adopt(told(2)), name="adopts")
    await theirs.hear()
    if last is not None:
        theirs.tell(last)
    await theirs.close()
    for waits in (child.ready(), adopts):
        with pytest.raises(ChildGone, match=why):
            await waits
    await listens
    with pytest.raises(ChildGone, match=why):
        await child.adopt(told(3))
    assert await child.answer("GET", "/x", 5.0) is None
    child.show()
    child.kill()


async def test_questions_are_answered_in_any_order_and_not_for_ever() -> None:
    """A worker that is busy keeps an operator waiting for so long and no longer; its last word has to do."""
    ours, theirs = await line()
    child = Child(Process(), ours)
    listens = start(child.listen(), name="listens")
    asks = start(child.answer("GET", "/admin/limits", 5.0), name="asks")
    refreshes = start(child.refresh(5.0), name="refreshes")
    first, second = await theirs.hear(), await theirs.hear()
    assert (first, second) == (Question(1, "GET", "/admin/limits"), Question(2))
    child.silent = 9
    theirs.tell(facts(2, "{}", connections=4))
    await refreshes
    theirs.tell(Answered(1, 200, {"limits": []}))
    assert await asks == Answered(1, 200, {"limits": []})
    assert (child.facts.connections, child.meters, child.silent) == (4, "{}", 0)
    theirs.tell(facts(connections=5))
    await until(lambda: child.facts.connections == 5)
    assert child.meters == "{}"
    assert await child.answer("GET", "/admin/limits", 0.01) is None
    await child.refresh(0.01)
    await theirs.close()
    await listens


async def test_what_a_worker_loads_is_known_and_one_that_speaks_has_no_fault() -> None:
    """It is what hangs, should it say nothing more."""
    ours, theirs = await line()
    child = Child(Process(), ours)
    listens = start(child.listen(), name="listens")
    child.silent, child.fault = 9, "silent"
    theirs.tell(Loading("the handler model.py"))
    await until(lambda: child.loading == "the handler model.py" and child.fault is None)
    assert child.silent == 0
    await theirs.close()
    await listens


async def test_an_answer_of_facts_is_none_to_an_operator() -> None:
    """It would not be the document that was asked for."""
    ours, theirs = await line()
    child = Child(Process(), ours)
    listens = start(child.listen(), name="listens")
    asks = start(child.answer("GET", "/x", 5.0), name="asks")
    await theirs.hear()
    theirs.tell(Facts(1, 0, 0, 0.0, 0, 0, None, None))
    assert await asks is None
    await theirs.close()
    await listens


@pytest.mark.slow
async def test_a_process_is_started_with_a_line_to_it() -> None:
    """It is our own code, whatever lies in the folder, and ends when the line is closed."""
    child = await start_child(3, (), {**os.environ})
    listens = start(child.listen(), name="listens")
    child.tell(Accept())  # not what it has to hear first
    assert await child.process.wait() == 2
    await listens
    with pytest.raises(ChildGone, match="ended"):
        await child.ready()


def test_memory_and_descriptors_of_a_process_can_be_seen() -> None:
    """Of one that is gone nothing is said."""
    seen = vitals(os.getpid())
    assert seen["resident"] > 5_000_000
    assert seen["descriptors"] >= 3
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert vitals(gone.pid) == {}
