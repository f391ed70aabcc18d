"""The worker's side of process mode: loads one handler, then runs the hooks that the proxy asks for.

Messages of the proxy name a session (one request) and a step; the answer carries the same. The first step of a session
brings its call along. A worker ends when the proxy does, however that ends: by the end of the stream, and by the
kernel's signal when the customer's code does not let the loop run.
"""

from __future__ import annotations

import asyncio
import ctypes
import itertools
import os
import resource
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .frames import (
    Head,
    call_head,
    encode,
    question_head,
    read,
    reply_head,
    split,
    to_call,
    to_reply,
)
from .handler import Loaded, Unusable, load
from .native import describe, run
from .values import Call, Event, Invoke, InvokeError, Question, Reply

NICENESS = 10
"""A customer's computing gives way to the loop that serves everyone."""
PR_SET_PDEATHSIG = 1
"""prctl(2)."""


def main(arguments: Sequence[str]) -> None:
    """Run until the proxy is gone. Arguments: descriptor of the socket, the proxy's process id, file, version."""
    descriptor, parent, file, version = arguments
    _bind_to(int(parent))
    folder = Path(file).parent
    sys.path.append(str(folder))  # for what does not go through `import`: importlib, pickles
    sys.argv = [file]
    sys.stdout = sys.stderr  # written at once; in a buffer it would be lost with the worker
    asyncio.run(_serve(int(descriptor), Path(file), version))
    os._exit(0)


def _bind_to(parent: int) -> None:
    os.setpgid(0, 0)  # what the customer's code starts is killed with it
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it went before the line above could take effect
        os._exit(0)
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _resident() -> int:
    """Bytes of memory that this process holds; 0 when the customer's code has taken every descriptor."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


async def _serve(descriptor: int, file: Path, version: str) -> None:
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=descriptor))
    try:
        loaded = await load(file, version)
    except Unusable as error:
        writer.write(encode({"unusable": str(error)}))
        await writer.drain()
        return
    steps = sorted(loaded.program.steps)
    writer.write(encode({"ready": loaded.recognised.convention, "steps": steps}))
    async with asyncio.TaskGroup() as tasks:
        worker = Worker(loaded, writer)
        while True:
            try:
                head, body = await read(reader)
            except (asyncio.IncompleteReadError, ConnectionError):
                os._exit(0)  # the proxy is gone; neither tasks nor threads of the customer's code keep the process
            if head["do"] == "invoked":
                worker.invoked(head, body)
            elif head["do"] == "close":
                worker.close(head["id"])
            else:
                tasks.create_task(worker.step(head, body))


class Worker:
    """The sessions of one worker process."""

    def __init__(self, loaded: Loaded, writer: asyncio.StreamWriter) -> None:
        self._program = loaded.program
        self._folder = loaded.folder
        self._writer = writer
        self._calls: dict[int, Call] = {}
        self._asked: dict[int, asyncio.Future[Reply]] = {}
        self._numbers = itertools.count()

    async def step(self, head: Head, body: bytes) -> None:
        """Run one hook and send what came of it."""
        session = head["id"]
        try:
            answer, *pieces = await self._run(head, body, session)
        except BaseException as error:  # noqa: BLE001 - even sys.exit() is told as any failure, and the worker goes on
            told = describe(error, self._folder)
            facts = {"status": told.status, "text": told.text, "trace": told.trace, "of_invoke": told.of_invoke}
            answer, pieces = {"failed": facts}, []
        call = self._calls.get(session)
        answer |= {"id": session, "kept": call is not None and bool(call.state), "resident": _resident()}
        self._writer.write(encode(answer, *pieces))
        await self._writer.drain()

    def invoked(self, head: Head, body: bytes) -> None:
        """The answer to a question has come."""
        asked = self._asked.pop(head["ask"], None)
        if asked is None or asked.done():
            return
        if "over" in head:
            asked.set_exception(RuntimeError(head["over"]))
        elif "error" in head:
            asked.set_exception(InvokeError(head["error"]["status"], head["error"]["message"]))
        else:
            asked.set_result(to_reply(head["reply"], body, None))

    def close(self, session: int) -> None:
        """A request is over."""
        self._calls.pop(session, None)

    async def _run(self, head: Head, body: bytes, session: int) -> tuple[Any, ...]:
        if "call" in head:
            size = head["call"]["size"]
            own, body = body[:size], body[size:]
            self._calls[session] = to_call(head["call"], own, self._invoke(session))
        call = self._calls[session]
        match head["do"]:
            case "before":
                given = await run(self._program.before, call)
                if isinstance(given, Reply):
                    return {"reply": reply_head(given)}, given.body
                if session in self._calls:
                    self._calls[session] = given
                return {"call": call_head(given)}, given.body
            case "during":
                events = split(body, head["sizes"])
                changed = [
                    await self._program.during(Event(data, number, call))
                    for number, data in enumerate(events, head["first"])
                ]
                return {"sizes": [len(each) for each in changed]}, *changed
            case step:
                assert step == "after"  # noqa: S101 - both sides are of one version
                reply = await run(self._program.after, to_reply(head["reply"], body, call))
                return {"reply": reply_head(reply)}, reply.body

    def _invoke(self, session: int) -> Invoke:
        async def invoke(question: Question) -> Reply:
            number = next(self._numbers)
            asked: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
            self._asked[number] = asked
            self._writer.write(
                encode({"ask": number, "id": session, "question": question_head(question)}, question.body)
            )
            await self._writer.drain()
            return await asked

        return invoke
