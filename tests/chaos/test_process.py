"""Faults of what surrounds the process: its log, its descriptors, its clock, and being told to stop."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from proxy.server import running
from proxy.settings import Settings
from proxy.wiring import serving, static_credentials

from .broken_answers import HEALTHY
from .client import ask
from .faults import Fault, Streamed
from .stage import Stage, descriptors, staged, until
from .table import PACED, SLOW, WAITS

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="package"), pytest.mark.timeout(300, func_only=True)]

DRAIN = 2.0
"""Seconds that the proxies of these tests drain for."""


async def metric(stage: Stage, name: str) -> float:
    """The sum of a metric's values."""
    sent = b"GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    lines = (await ask(stage.proxy.admin_port, sent)).body.decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


async def many(stage: Stage, fault: Fault, times: int) -> None:
    """So many requests, eight at a time, each with the answer that is promised."""
    for _ in range(0, times, 8):
        for answer in await asyncio.gather(*(stage.play(fault) for _ in range(8))):
            fault.promise.hold(answer)


async def test_disk_full_for_the_log(tmp_path: Path) -> None:
    """Requests are served, and the lines that were lost are counted."""
    async with staged(tmp_path, (HEALTHY,), "--log", "/dev/full") as stage:
        await many(stage, HEALTHY, 40)
        await until(lambda: reached(stage, "pointsman_log_lines_lost_total", 40))
        await stage.settled()


async def reached(stage: Stage, name: str, value: float) -> bool:
    """Whether a metric has come to a value."""
    return await metric(stage, name) == value


async def test_log_whose_reader_stalls(tmp_path: Path) -> None:
    """Requests are served as if it read, and the process ends in time when it is told to."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        async with staged(tmp_path, (HEALTHY,), "--log", str(pipe)) as stage:
            await many(stage, HEALTHY, 160)  # twice what a pipe holds
            await stage.settled()
    finally:
        os.close(reading)


async def test_log_whose_reader_goes(tmp_path: Path) -> None:
    """Requests are served, and the lines that were lost are counted."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    async with staged(tmp_path, (HEALTHY,), "--log", str(pipe)) as stage:
        os.close(reading)
        await many(stage, HEALTHY, 40)
        await until(lambda: reached(stage, "pointsman_log_lines_lost_total", 40))


async def test_descriptors_run_out(tmp_path: Path) -> None:
    """Each client has one typed answer or a closed connection, none waits, and all is well once some are free again."""
    async with staged(tmp_path, (HEALTHY, SLOW)) as stage:
        pid = stage.proxy.process.pid
        HEALTHY.promise.hold(await stage.play(HEALTHY))
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (descriptors(pid) + 8, before[1]))
        answers = await asyncio.gather(*(stage.play(SLOW) for _ in range(40)))
        assert max(answer.seconds for answer in answers) < 20.0
        assert {answer.status for answer in answers} <= {0, 200, 503}
        for answer in answers:
            if answer.status == 200:
                SLOW.promise.hold(answer)
            elif answer.status == 503:
                assert (answer.error, answer.whole, answer.rest) == ("ServiceUnavailable", True, b"")
            else:
                assert answer.rest == b""
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        await many(stage, HEALTHY, 8)
        await stage.settled()


async def test_process_stands_still(tmp_path: Path) -> None:
    """A request that was under way, and one that came meanwhile, have their answers once it goes on."""
    async with staged(tmp_path, (HEALTHY, SLOW)) as stage:
        pid, upstream = stage.proxy.process.pid, stage.upstreams[SLOW]
        under_way = asyncio.create_task(stage.play(SLOW))
        await upstream.asked.wait()
        os.kill(pid, signal.SIGSTOP)
        meanwhile = asyncio.create_task(stage.play(HEALTHY))
        done, _ = await asyncio.wait({under_way, meanwhile}, timeout=1.0)
        assert not done
        os.kill(pid, signal.SIGCONT)
        SLOW.promise.hold(await under_way)
        HEALTHY.promise.hold(await meanwhile)
        await stage.settled()


async def test_told_to_stop_in_a_stream(tmp_path: Path) -> None:
    """The stream comes to its proper end, no new connection is taken, and the process ends with 0."""
    async with staged(tmp_path, (PACED,), "--drain", "60") as stage:
        upstream = stage.upstreams[PACED]
        streaming = asyncio.create_task(stage.play(PACED))
        await upstream.asked.wait()
        stage.proxy.process.send_signal(signal.SIGTERM)
        Streamed().hold(await streaming)
        await until(lambda: closed(stage))
        assert await asyncio.to_thread(stage.proxy.process.wait, 60) == 0


async def closed(stage: Stage) -> bool:
    """Whether the proxy's port takes nobody."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", stage.proxy.port)
    except ConnectionError:
        return True
    writer.transport.abort()
    return False


async def test_told_to_stop_with_requests_that_do_not_end(tmp_path: Path) -> None:
    """They are cut off when the time to drain is over: no answer that looks whole, and the process ends with 0."""
    loop = asyncio.get_running_loop()
    async with staged(tmp_path, (WAITS,)) as stage:
        upstream = stage.upstreams[WAITS]
        waiting = asyncio.create_task(stage.play(WAITS))
        await upstream.asked.wait()
        began = loop.time()
        stage.proxy.process.send_signal(signal.SIGTERM)
        answer = await waiting
        assert DRAIN - 0.1 < loop.time() - began < DRAIN + 20
        assert answer.status == 0 or answer.error
        assert await asyncio.to_thread(stage.proxy.process.wait, 60) == 0


@asynccontextmanager
async def inside(folder: Path, upstreams: Stage) -> AsyncIterator[Stage]:
    """A proxy in this process, whose wall clock jumps a day back and forth with every look at it."""
    jumps = count()
    settings = Settings(
        policy=str(folder / "policy.yaml"), port=0, admin_port=0, drain=1.0, log=str(folder / "jumping.log")
    )
    async with serving(settings, {}, static_credentials("AKID", "secret")) as services:
        real = services.wall
        jumping = replace(services, wall=lambda: real() + (-1) ** next(jumps) * 86400.0)
        async with running(settings, jumping) as addresses:
            proxy = replace(upstreams.proxy, port=addresses.port, admin_port=addresses.admin_port or 0)
            yield Stage(proxy, upstreams.upstreams)


async def test_wall_clock_that_jumps(tmp_path: Path) -> None:
    """Deadlines, breakers and limits do not look at it: answers, streams and times are as they were."""
    async with staged(tmp_path, (HEALTHY, PACED, WAITS)) as upstreams, inside(tmp_path, upstreams) as stage:
        await many(stage, HEALTHY, 16)
        PACED.promise.hold(await stage.play(PACED))
        limits = (await stage.admin("/admin/limits"))["limits"]
        assert not [each for each in limits if each["in_flight"] or each["waiting"]]
        assert {each["state"] for each in (await stage.admin("/admin/breakers"))["breakers"]} <= {"closed"}
