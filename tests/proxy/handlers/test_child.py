"""One worker process: its start, its end, and messages that are none."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
import uvloop

from proxy.handlers.child import Child, interpreter, start_child
from proxy.handlers.errors import HandlerError, LoadError
from proxy.handlers.guest import frames
from proxy.handlers.guest.values import Question, Reply
from tests.proxy.handlers.customers import call, write

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
FINE = "def before(call): return 'fine'\n"


async def ask(_: Question) -> Reply:
    return Reply(b"", None)


async def child(file: Path, died: list[Child] | None = None) -> Child:
    ends: list[Child] = [] if died is None else died
    return await start_child(interpreter(), file, "1", {}, lambda _: None, ends.append)


async def run_once(worker: Child, number: int = 1) -> bytes:
    one = call(b"x")
    head = {"do": "before", "call": {**frames.call_head(one), "size": 1}}
    return (await worker.run(number, head, (b"x",), ask))[1]


async def test_worker_runs_hooks_until_it_is_killed(tmp_path: Path) -> None:
    """It says which steps it has, answers, has a size, and is told of once when it is gone."""
    died: list[Child] = []
    worker = await child(write(tmp_path, FINE), died)
    assert (sorted(worker.steps), worker.free, worker.idle, worker.served) == (["before"], True, True, False)
    assert await run_once(worker) == b"fine"
    assert worker.served
    assert worker.memory() > 1024 * 1024
    worker.kill()
    await worker.end
    assert (died, worker.gone, worker.free, worker.memory()) == ([worker], True, False, 0)
    worker.kill()
    worker.close(1)


def test_line_that_broke_is_no_fault_of_who_speaks(tmp_path: Path) -> None:
    """A worker that was killed is not known to be gone at once. Who is told of no end meanwhile has none to tell of,
    and whoever asks for a hook hears that the worker crashed."""

    async def breaks() -> None:
        worker = await child(write(tmp_path, FINE))
        worker.sessions |= {1, 2}
        worker._writer.transport.abort()
        worker.close(1)
        await asyncio.sleep(0)
        assert not worker.gone
        worker.close(2)
        with pytest.raises(HandlerError) as caught:
            await run_once(worker, 3)
        assert caught.value.reason == "crashed"
        await worker.end

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(breaks())


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("raise ValueError('no weights')\n", "ValueError: no weights"),
        ("import os\nos._exit(4)\n", "the worker ended with status 4 while it loaded"),
        ("def predict_fn(a, b): ...\n", "predict_fn runs the model itself"),
    ],
)
async def test_file_that_cannot_be_loaded(tmp_path: Path, source: str, text: str) -> None:
    """The reason is told, and no process is left."""
    file = write(tmp_path, source)
    with pytest.raises(LoadError, match=text) as caught:
        await child(file)
    assert str(file) in str(caught.value)


async def test_worker_is_a_group_within_the_session_of_the_proxy(tmp_path: Path) -> None:
    """A signal to its group reaches nobody else; its niceness counts, which across sessions it would not."""
    worker = await child(write(tmp_path, "import os\ndef before(call): return str(os.getpid())\n"))
    pid = int(await run_once(worker))
    assert (os.getpgid(pid), os.getsid(pid)) == (pid, os.getsid(0))
    worker.kill()
    await worker.end


async def test_interpreter_that_is_not_there(tmp_path: Path) -> None:
    """An environment that was deleted is named."""
    with pytest.raises(LoadError, match="no worker can be started with /nowhere/python"):
        await start_child("/nowhere/python", write(tmp_path, FINE), "1", {}, lambda _: None, lambda _: None)


async def test_customers_code_that_writes_into_the_socket_ends_its_worker(tmp_path: Path) -> None:
    """What is no message costs the worker and the request, nothing else."""
    source = """
    import os, sys
    def before(call):
        for descriptor in range(3, 64):
            try:
                os.write(descriptor, b"garbage" * 100)
            except OSError:
                pass
    """
    worker = await child(write(tmp_path, source))
    with pytest.raises(HandlerError) as caught:
        await run_once(worker)
    assert caught.value.reason == "crashed"
    await worker.end


PARENT = """
import asyncio, sys
from pathlib import Path
from proxy.handlers.child import interpreter, start_child
from proxy.handlers.guest import frames
from tests.proxy.handlers.customers import call
async def main():
    child = await start_child(interpreter(), Path(sys.argv[1]), "1", {}, lambda _: None, lambda _: None)
    print(child._process.pid, flush=True)
    one = call(b"x")
    await child.run(1, {"do": "before", "call": {**frames.call_head(one), "size": 1}}, (b"x",), None)
asyncio.run(main())
"""


@pytest.mark.parametrize(
    "source",
    ["def before(call):\n    while True: pass\n", "import asyncio\nasync def before(call): await asyncio.sleep(99)\n"],
)
def test_worker_goes_when_the_proxy_is_killed(tmp_path: Path, source: str) -> None:
    """Even one that computes and never looks at its socket."""
    file = write(tmp_path, source)
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(file)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    handle = os.pidfd_open(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    os.set_blocking(handle, False)
    import select

    assert select.select([handle], [], [], 10)[0] == [handle]
    os.close(handle)
