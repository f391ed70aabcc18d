"""Cold starts with several processes: one probe among them, and all of them know when the target is back."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.contract.serving import Proxy, running_proxy
from tests.standins import IMPORT_ARN, config_of, running_emulator

POLICY = """
apiVersion: pointsman/v1
account: "123456789012"
targets:
  imported: {{kind: bedrock, model: "{arn}", url: "{url}", speaks: openai-chat, cold: {{restore: 3s..5m}}}}
  dedicated: {{kind: endpoint, endpoint: dedicated, region: us-east-1, url: "{url}", speaks: openai-chat}}
endpoints:
  chat: {{serve_from: imported, fallback: [dedicated], clients_speak: openai-chat}}
"""
BODY = json.dumps({"messages": [{"role": "user", "content": "hello"}], "max_tokens": 5}).encode()


async def exchanged(port: int, head: str, body: bytes = b"") -> bytes:
    """One request on a connection of its own, so that any worker may get it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{head}\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def ask(proxy: Proxy) -> str:
    """The target that answered."""
    answer = await exchanged(
        proxy.port, "POST /endpoints/chat/invocations HTTP/1.1\r\nContent-Type: application/json", BODY
    )
    assert answer.startswith(b"HTTP/1.1 200"), answer
    return answer.lower().split(b"x-pointsman-target: ")[1].split(b"\r\n")[0].decode()


async def temperatures(proxy: Proxy) -> dict[int, str]:
    """What the import is to each worker that has an opinion."""
    answer = await exchanged(proxy.admin_port, "GET /admin/temperatures HTTP/1.1")
    rows = json.loads(answer.partition(b"\r\n\r\n")[2])["temperatures"]
    return {row.get("worker", 0): row["state"] for row in rows}


async def processes(proxy: Proxy) -> dict[int, int]:
    """Process of each worker that serves."""
    answer = await exchanged(proxy.admin_port, "GET /readyz HTTP/1.1")
    rows = json.loads(answer.partition(b"\r\n\r\n")[2])["workers"]
    return {row["worker"]: row["pid"] for row in rows if row["state"] == "serving"}


MODELS = {
    "imported": {"kind": "import", "arn": IMPORT_ARN, "dialect": "openai-chat", "cold": {"starts": "cold"}},
    "dedicated": {"kind": "endpoint", "dialect": "openai-chat"},
}


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_process_killed_in_the_middle_of_a_restore(tmp_path: Path) -> None:
    """Its lease of the target runs out, and another process of the fleet, which has waited for it, sends its own probe.

    No client asks for the target meanwhile: what brings it back is the probe of the one that is left.
    """
    state = ("--state", f"sqlite:///{tmp_path / 'state.db'}")
    async with running_emulator(config_of(MODELS)) as standin, AsyncExitStack() as stack:
        standin.emulator.clock.freeze()
        policy = POLICY.format(arn=IMPORT_ARN, url=standin.url)
        one = await begun(stack, tmp_path / "one", policy, *state, "--workers", "2")
        other = await begun(stack, tmp_path / "other", policy, *state)
        for proxy in (one, other):  # the first has the lease by then
            while set((await temperatures(proxy)).values()) != {"warming"}:
                assert set(await asyncio.gather(*(ask(proxy) for _ in range(20)))) == {"dedicated"}
        killed = await processes(one)
        assert len(killed) == 2
        for pid in killed.values():
            os.kill(pid, signal.SIGKILL)
        standin.emulator.clock.advance(60)
        while set((await temperatures(other)).values()) != {"ready"}:  # noqa: ASYNC110 - it happens in another process
            await asyncio.sleep(0.1)
    lines = [json.loads(line) for line in other.log.read_text().splitlines()]
    (probe,) = (line for line in lines if line["operation"] == "Warm")
    assert probe["status"] == 200
    assert {line["status"] for line in lines} == {200}


async def begun(stack: AsyncExitStack, folder: Path, policy: str, *flags: str) -> Proxy:
    """A proxy that is ended with the stack."""
    await asyncio.to_thread(folder.mkdir)
    starting = running_proxy(folder, policy, *flags)
    proxy = await asyncio.to_thread(starting.__enter__)
    stack.push_async_callback(asyncio.to_thread, starting.__exit__, None, None, None)
    return proxy


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_two_workers_restore_once(tmp_path: Path) -> None:
    """Requests of both spill, one sends the probe, and the other hears that the import is back."""
    async with running_emulator(config_of(MODELS)) as standin:
        standin.emulator.clock.freeze()
        starting = running_proxy(tmp_path, POLICY.format(arn=IMPORT_ARN, url=standin.url), "--workers", "2")
        proxy = await asyncio.to_thread(starting.__enter__)
        try:
            while set((await temperatures(proxy)).values()) != {"warming"}:
                assert set(await asyncio.gather(*(ask(proxy) for _ in range(20)))) == {"dedicated"}
            standin.emulator.clock.advance(60)
            while set((await temperatures(proxy)).values()) != {"ready"}:
                assert await ask(proxy) in {"dedicated", "imported"}
            metrics = (await exchanged(proxy.admin_port, "GET /metrics HTTP/1.1")).decode()
        finally:
            await asyncio.to_thread(starting.__exit__, None, None, None)
    assert [each for each in metrics.splitlines() if each.startswith("pointsman_restores_total")] == [
        'pointsman_restores_total{target="imported",result="ready"} 1'
    ]
    lines = [json.loads(line) for line in proxy.log.read_text().splitlines()]
    assert [line["operation"] for line in lines].count("Warm") == 1
    assert {line["status"] for line in lines} == {200}
