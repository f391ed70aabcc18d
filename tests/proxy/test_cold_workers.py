"""Cold starts with several processes: one probe among them, and all of them know when the target is back."""

from __future__ import annotations

import asyncio
import json
import os
import signal
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
    return {row["worker"]: row["state"] for row in rows}


async def processes(proxy: Proxy) -> dict[int, int]:
    """Process of each worker that serves."""
    answer = await exchanged(proxy.admin_port, "GET /readyz HTTP/1.1")
    rows = json.loads(answer.partition(b"\r\n\r\n")[2])["workers"]
    return {row["worker"]: row["pid"] for row in rows if row["state"] == "ready"}


MODELS = {
    "imported": {"kind": "import", "arn": IMPORT_ARN, "dialect": "openai-chat", "cold": {"starts": "cold"}},
    "dedicated": {"kind": "endpoint", "dialect": "openai-chat"},
}


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_workers_killed_in_the_middle_of_a_restore(tmp_path: Path) -> None:
    """Each in turn, so also the one whose probe is out: the lease runs out, another's probe brings the target back."""
    async with running_emulator(config_of(MODELS)) as standin:
        standin.emulator.clock.freeze()
        starting = running_proxy(tmp_path, POLICY.format(arn=IMPORT_ARN, url=standin.url), "--workers", "2")
        proxy = await asyncio.to_thread(starting.__enter__)
        try:
            while set((await temperatures(proxy)).values()) != {"warming"}:
                assert set(await asyncio.gather(*(ask(proxy) for _ in range(20)))) == {"dedicated"}
            for worker, pid in (await processes(proxy)).items():
                os.kill(pid, signal.SIGKILL)
                while (await processes(proxy)).get(worker, pid) == pid:
                    pass  # each look is a round trip to the supervisor
            standin.emulator.clock.advance(60)
            while set((await temperatures(proxy)).values()) != {"ready"} or await ask(proxy) != "imported":
                assert await ask(proxy) in {"dedicated", "imported"}
        finally:
            await asyncio.to_thread(starting.__exit__, None, None, None)
    lines = [json.loads(line) for line in proxy.log.read_text().splitlines()]
    assert {line["status"] for line in lines if line["operation"] != "Warm"} == {200}
    assert [line["status"] for line in lines if line["operation"] == "Warm"][-1] == 200


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
    assert 'pointsman_restores_total{target="imported",result="ready"} 1' in metrics
    lines = [json.loads(line) for line in proxy.log.read_text().splitlines()]
    assert [line["operation"] for line in lines].count("Warm") == 1
    assert {line["status"] for line in lines} == {200}
