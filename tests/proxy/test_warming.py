"""A proxy that serves also warms, with nobody asking it anything."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from backends.state import StoreError
from proxy.server import running
from proxy.settings import Settings, SettingsError, read
from proxy.wiring import serving, static_credentials

POLICY = """\
apiVersion: pointsman/v1
account: "123456789012"
targets: {{engine: {{kind: vllm, url: "http://127.0.0.1:{port}", model: m, speaks: openai-chat}}}}
endpoints: {{x: {{serve_from: engine, warm: {{engine: {{}}}}}}}}
"""


def first_line(pipe: Path) -> bytes:
    with pipe.open("rb") as lines:
        return lines.readline()


@pytest.mark.parametrize("shared", [False, True])
async def test_serving_proxy_warms(tmp_path: Path, shared: bool) -> None:
    """Its first warm-up goes out at the start, alone or as the one of its fleet."""
    asked: asyncio.Queue[bytes] = asyncio.Queue()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        asked.put_nowait(await reader.readexactly(length))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()

    engine = await asyncio.start_server(answer, "127.0.0.1", 0)
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY.format(port=engine.sockets[0].getsockname()[1]))
    state = f"sqlite:///{tmp_path / 'state.db'}" if shared else None
    settings = Settings(str(policy), port=0, admin_port=0, log=str(tmp_path / "log"), state=state)
    os.mkfifo(tmp_path / "log")
    told = asyncio.get_running_loop().run_in_executor(None, first_line, tmp_path / "log")
    async with serving(settings, {}, static_credentials("k", "s")) as services, running(settings, services):
        assert b'"max_tokens":1' in await asked.get()
        assert b'"log":"warm"' in await told
    engine.close()
    await engine.wait_closed()


async def test_state_that_can_not_be_opened_keeps_the_proxy_from_starting(tmp_path: Path) -> None:
    """A fleet that was asked for and is none would be found out late."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY.format(port=1))
    settings = Settings(str(policy), log=str(tmp_path / "log"), state=f"sqlite:///{tmp_path}/missing/state.db")
    with pytest.raises(StoreError, match="unable to open"):
        async with serving(settings, {}, static_credentials("k", "s")):
            pass


def test_state_is_a_url_of_a_known_kind() -> None:
    """The flag and its variable are read as the others are."""
    given = {"policy": "p.yaml", "face": "all"}
    assert read(given, {}).state is None
    assert read(given, {"POINTSMAN_STATE": "sqlite:////var/state.db"}).state == "sqlite:////var/state.db"
    with pytest.raises(SettingsError, match="--state can't be 'ftp://x'"):
        read(given | {"state": "ftp://x"}, {})
