"""vLLM as a process on this machine's CPU: started, waited for, watched, and never left behind.

Strategy: the engine is a child in our own process group, so that Ctrl-C reaches it as well; leaving the block ends it
(SIGTERM, then SIGKILL after `STOP_SECONDS`) with all that it has started; a killed parent takes it along
(`launch.py`). It counts as running when it has computed a token, not when it says that it is healthy: with a number
format that the CPU can't do, `/health` is 200 until the first request kills it.

The settings are those that proved themselves on two cores without a GPU (measured with vLLM 0.32.0; 14 s to start on a
quiet machine, half a minute beside other work, 1.7 GB of memory for a 135-million-parameter model in float16).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from .environment import Say

START_SECONDS = 400.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.25
SAY_EVERY = 5.0
ANSWER_SECONDS = 60.0
"""Longest wait for the first token: the first request also loads what importing has put off."""

SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # without it the uni executor is ignored on CPU
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # else an engine pins itself to the cores that its neighbour uses
    "VLLM_LOGGING_COLOR": "0",
    "TOKENIZERS_PARALLELISM": "false",
}
UNSET = ("VLLM_CPU_KVCACHE_SPACE",)
"""Variables of the user's that would change what is promised: this one allocates whole GiB."""


class EngineFailedError(Exception):
    """The engine did not start, or ended by itself; one line that says where its own words are."""


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """What to serve, and with how much of the machine."""

    python: Path
    """Interpreter of the environment that vLLM is installed in."""
    model: Path
    """Folder of the weights."""
    name: str
    """Name the model is served under."""
    port: int
    """Port on 127.0.0.1; 0: a free one."""
    log: Path
    """File that takes what the engine says."""
    dtype: str = "float16"
    """Not bfloat16: that dies with SIGILL on CPUs whose flags promise AMX and which do not have it."""
    threads: int = 2
    context: int = 1024
    """Tokens of prompt and answer together."""
    flags: tuple[str, ...] = ()

    def command(self, port: int) -> list[str]:
        """The program and its arguments."""
        return [
            *(str(self.python), "-W", "ignore::DeprecationWarning", "-m", "vllm.entrypoints.openai.api_server"),
            *(f"--model={self.model}", f"--served-model-name={self.name}", "--host=127.0.0.1", f"--port={port}"),
            *(f"--dtype={self.dtype}", "--enforce-eager", "--distributed-executor-backend=uni"),
            *(f"--max-model-len={self.context}", f"--max-num-batched-tokens={self.context}", "--max-num-seqs=8"),
            *("--kv-cache-memory-bytes=128M", "--disable-uvicorn-access-log"),
            *self.flags,
        ]


@dataclass(frozen=True, slots=True)
class Engine:
    """A running engine."""

    url: str
    """Base URL without a trailing slash."""
    process: Process
    log: Path

    async def ended(self) -> EngineFailedError:
        """Waits until the engine ends by itself, and says so."""
        code = await self.process.wait()
        return EngineFailedError(f"vLLM ended with {code}; what it said last is in {self.log}")


@contextlib.asynccontextmanager
async def running_vllm(plan: EnginePlan, say: Say | None = None) -> AsyncIterator[Engine]:
    """vLLM, once it has computed its first token, until the block is left.

    Raises:
        EngineFailedError: it ended, or was not ready within `START_SECONDS`.
        OSError: the port is taken, or the log can't be written.
    """
    port = free_port(plan.port)
    own = [f"{name}={value}" for name, value in SETTINGS.items()] + [f"OMP_NUM_THREADS={plan.threads}"]
    unset = [word for name in UNSET for word in ("-u", name)]
    launch = str(Path(__file__).with_name("launch.py"))
    with plan.log.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(str(plan.python), launch, str(os.getpid()), "env", *unset, *own),
            *plan.command(port),
            stdin=DEVNULL,
            stdout=log,
            stderr=STDOUT,
        )
    engine = Engine(f"http://127.0.0.1:{port}", process, plan.log)
    try:
        await _until_ready(engine, port, plan.name, say or (lambda _line: None))
        yield engine
    finally:
        await _end(process)


def free_port(wanted: int = 0) -> int:
    """A port of 127.0.0.1 that nobody listens on now: `wanted`, or any. Raises OSError when it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", wanted))
        port: int = probe.getsockname()[1]
        return port


async def _until_ready(engine: Engine, port: int, name: str, say: Say) -> None:
    loop = asyncio.get_running_loop()
    began, told = loop.time(), SAY_EVERY
    while not await _answers(port, b"GET /health HTTP/1.0\r\n\r\n", POLL_SECONDS * 4):
        waited = loop.time() - began
        if waited > START_SECONDS:
            msg = f"vLLM was not ready after {START_SECONDS:.0f} s; what it said last is in {engine.log}"
            raise EngineFailedError(msg)
        if waited >= told:
            say(f"vllm: starting, {waited:.0f} s")
            told += SAY_EVERY
        # Waiting for the process to end is the pause between two looks, and tells at once that there is none to come.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):
                raise await engine.ended()
    body = f'{{"model": "{name}", "prompt": "One", "max_tokens": 1}}'.encode()
    head = "POST /v1/completions HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: "
    if not await _answers(port, f"{head}{len(body)}\r\n\r\n".encode() + body, ANSWER_SECONDS):
        msg = f"vLLM is up and can't compute; what it said last is in {engine.log}"
        raise EngineFailedError(msg)


async def _answers(port: int, request: bytes, seconds: float) -> bool:
    """Whether the engine answers 200."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(request)
                return b" 200 " in await reader.readline()
            finally:
                writer.close()
    return False


async def _end(process: Process) -> None:
    if process.returncode is not None:
        return
    with contextlib.ExitStack() as parts:
        # An engine that is still loading is a process of its own, which does not see its parent go until it has loaded.
        for pid in descendants(process.pid):
            with contextlib.suppress(ProcessLookupError):
                parts.callback(_kill, os.pidfd_open(pid))
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def descendants(pid: int) -> list[int]:
    """What process `pid` has started, and what that has, as far as it still runs."""
    found = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                found += [int(child), *descendants(int(child))]
    return found


def _kill(descriptor: int) -> None:
    """A process by its descriptor, which is never another's as a number may be."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    os.close(descriptor)
