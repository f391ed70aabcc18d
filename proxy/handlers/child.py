"""One worker process as the proxy sees it: started, asked, killed.

A worker has a process group of its own for signals, so that a kill takes what the customer's code started along. It has
no session of its own: Linux weighs sessions against each other as equals (sched_autogroup_enabled), and its niceness
would count for nothing. Its standard output goes to our standard error: standard output is the request log's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from backends.tasks import start

from .errors import OVER, HandlerError, LoadError, crashed, raised, too_long
from .guest import frames, values
from .guest.native import Raised

START = Path(__file__).parent / "guest" / "start.py"
LOAD_SECONDS = 120.0
"""How long a handler may take to load: tokenizers are slow."""

Answer = tuple[frames.Head, bytes]
Ask = Callable[[values.Question], Awaitable[values.Reply]]


class Child:
    """A worker process that is ready."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        steps: frozenset[str],
        freed: Callable[[Child], None],
        died: Callable[[Child], None],
    ) -> None:
        """`freed` is told when it could take another hook, `died` once, when it is gone."""
        self.steps = steps
        self.waiters: deque[asyncio.Future[None]] = deque()
        """Sessions that can go on in this worker only."""
        self.sessions: set[int] = set()
        """Those whose call it has."""
        self.kept: set[int] = set()
        """Those that left state in it."""
        self.leaving = False
        self.given_up = False
        """It was ended since its hook was late."""
        self.served = False
        """It has answered at least once."""
        self.answered = False
        """The last that it said was a hook's answer, and no question."""
        self.resident = 0
        """Bytes, by its last answer."""
        self._process = process
        self._reader = reader
        self._writer = writer
        self._freed = freed
        self._died = died
        self._running = 0
        self._answers: dict[int, asyncio.Future[Answer]] = {}
        self._asks: dict[int, Ask] = {}
        self._asked: set[int] = set()
        """Sessions whose hook has asked something."""
        self._questions: dict[asyncio.Task[values.Reply], tuple[int, int]] = {}
        """What has no answer yet: whose it is, and its number there."""
        self.gone = False
        self.end = start(self._read(), name=f"handler-worker {process.pid}")

    @property
    def free(self) -> bool:
        """It runs no hook: has none, or they all wait for `call.invoke`."""
        return self._running <= 0 and not self.gone

    @property
    def stays(self) -> bool:
        """It is there for hooks to come: nobody has ended it, and it is not being replaced."""
        return not (self.gone or self.given_up or self.leaving)

    @property
    def idle(self) -> bool:
        """No hook of it is under way at all, and no session needs it."""
        return not self._answers and not self.kept

    def memory(self) -> int:
        """Resident bytes now; 0 when it is gone."""
        try:
            pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        except (OSError, IndexError, ValueError):
            return 0
        return pages * os.sysconf("SC_PAGE_SIZE")

    async def run(self, session: int, head: frames.Head, bodies: tuple[bytes, ...], ask: Ask | None) -> Answer:
        """Run one hook. Raises HandlerError. Given up by the caller, it goes on until `kill`, or its answer."""
        answer = self._answers[session] = asyncio.get_running_loop().create_future()
        if ask is not None:
            self._asks[session] = ask
        self._running += 1
        self._tell({**head, "id": session}, *bodies)
        with contextlib.suppress(ConnectionError):  # the reading side tells
            await self._writer.drain()
        await asyncio.wait((answer,))
        found, body = answer.result()
        if "failed" in found:
            raise raised(Raised(**found["failed"]))
        return found, body

    def busy_with(self, session: int) -> bool:
        """A hook of the session is still under way."""
        return session in self._answers

    def release(self, session: int) -> bool:
        """Nobody waits for the session's hook any longer: what it has asked is given up, and it is told so. Whether it
        has asked anything."""
        self._asks.pop(session, None)  # what it asks from now on is told the same
        for question, (asker, _) in list(self._questions.items()):
            if asker == session:
                question.cancel()
        return session in self._asked

    def close(self, session: int) -> None:
        """A request is over."""
        self.kept.discard(session)
        if session in self.sessions:
            self.sessions.discard(session)
            self._tell({"do": "close", "id": session})

    def give_up(self) -> None:
        """End it since its hook is late. That says nothing of the next hook, so it counts as no crash."""
        self.given_up = True
        self.kill()

    def kill(self) -> None:
        """End it at once, with all that it started."""
        _kill(self._process)

    async def _read(self) -> None:
        how = ""
        try:
            while True:
                head, body = await frames.read(self._reader)
                if "ask" in head:
                    self._question(head, body)
                else:
                    self._answered(head, body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except (frames.Malformed, KeyError, TypeError) as error:
            how = f", after {error}"
        finally:
            self.gone = True
            self.kill()
            self._writer.close()
            status = await self._process.wait()
            for question in self._questions:
                question.cancel()
            self._fail(crashed(f"the worker ended with status {status}{how}"))
            self._died(self)

    def _answered(self, head: frames.Head, body: bytes) -> None:
        session = head["id"]
        if head["kept"] and session in self.sessions:
            self.kept.add(session)
        self.served = self.answered = True
        self.resident = head["resident"]
        self._asks.pop(session, None)
        self._asked.discard(session)
        answer = self._answers.pop(session)
        if not answer.cancelled():
            answer.set_result((head, body))
        self._running -= 1
        self._freed(self)

    def _question(self, head: frames.Head, body: bytes) -> None:
        session = head["id"]
        task = start(self._invoke(session, frames.to_question(head["question"], body)), name="handler-invoke")
        self._questions[task] = (session, head["ask"])
        task.add_done_callback(self._invoked)
        self._asked.add(session)
        self._running -= 1
        self.answered = False
        self._freed(self)

    async def _invoke(self, session: int, question: values.Question) -> values.Reply:
        ask = self._asks.get(session)
        if ask is None:
            raise RuntimeError(OVER)
        return await ask(question)

    def _invoked(self, question: asyncio.Task[values.Reply]) -> None:
        """However it ended, the hook is told: it would wait for ever."""
        _, number = self._questions.pop(question)
        told: frames.Head = {"do": "invoked", "ask": number}
        given = b""
        error = RuntimeError(OVER) if question.cancelled() else question.exception()
        if error is None:
            reply = question.result()
            told["reply"], given = frames.reply_head(reply), reply.body
        elif isinstance(error, values.InvokeError):
            told["error"] = {"status": error.status_code, "message": str(error)}
        else:
            told["over"] = str(error)
        self._running += 1
        self._tell(told, given)

    def _tell(self, head: frames.Head, *bodies: bytes) -> None:
        """Send a message. Nothing happens once the line is broken, which the reading side may not know yet: uvloop
        takes a write then for an error of ours."""
        if not self._writer.is_closing():
            self._writer.write(frames.encode(head, *bodies))

    def _fail(self, error: HandlerError) -> None:
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(error)
                answer.exception()  # read here: whoever gave up does not come back for it
        self._answers.clear()


async def start_child(
    python: str,
    file: Path,
    version: str,
    environment: Mapping[str, str],
    freed: Callable[[Child], None],
    died: Callable[[Child], None],
    seconds: float = LOAD_SECONDS,
) -> Child:
    """A worker with `file` loaded, in the interpreter `python`. Raises LoadError."""
    ours, theirs = socket.socketpair()
    arguments = [python, "-I", str(START), str(theirs.fileno()), str(os.getpid()), str(file), version]
    options: dict[str, Any] = {"env": dict(environment), "cwd": file.parent}
    try:
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=2, pass_fds=(theirs.fileno(),), **options
            )
    except BaseException as error:
        ours.close()
        if isinstance(error, OSError):
            _refuse(f"{file}: no worker can be started with {python}: {error.strerror}")
        raise
    writer = None
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(sock=ours)
            head, _ = await frames.read(reader)
        if "unusable" in head:
            _refuse(f"{file}: {head['unusable']}")
        return Child(process, reader, writer, frozenset(head["steps"]), freed, died)
    except BaseException as error:
        _kill(process)
        (writer or ours).close()
        status = await process.wait()
        if isinstance(error, TimeoutError):
            raise too_long(file, seconds) from error
        if isinstance(error, asyncio.IncompleteReadError | ConnectionError | frames.Malformed):
            _refuse(f"{file}: the worker ended with status {status} while it loaded the file")
        raise


def _kill(process: asyncio.subprocess.Process) -> None:
    """Its group; one that has just been started may not have made it yet, and is alone."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
    except PermissionError:
        pass


def _refuse(message: str) -> None:
    raise LoadError(message)


def interpreter() -> str:
    """The interpreter that runs the proxy."""
    return sys.executable
