"""The stand-ins of AWS for tests: started on port 0 in the test's own loop, driven by real boto3 clients in threads."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from typing import Any, TypeVar

import botocore.session
from botocore.config import Config

from backends.emulator.clock import Clock
from backends.emulator.config import EmulatorConfig, load_config
from backends.emulator.server import Emulator

T = TypeVar("T")

ACCESS_KEY_ID, SECRET_ACCESS_KEY = "AKIDEMULATOREXAMPLE", "emulator-secret-not-a-secret"
REGION, ACCOUNT = "us-east-1", "123456789012"
IMPORT_ARN = f"arn:aws:bedrock:{REGION}:{ACCOUNT}:imported-model/standin00001"
MODELS: Mapping[str, Any] = {
    "dedicated": {"kind": "endpoint", "dialect": "openai-chat"},
    "echo": {"kind": "endpoint", "dialect": "echo"},
    "packed": {"kind": "component", "endpoint": "shared", "dialect": "openai-chat"},
    "imported": {"kind": "import", "arn": IMPORT_ARN, "dialect": "openai-chat"},
    "engine": {"kind": "engine", "dialect": "openai-chat", "adapters": ["lora-a"]},
}


def config_of(models: Mapping[str, Any] | None = None, **settings: Any) -> EmulatorConfig:
    """A configuration with the usual credentials; `models` default to one of each kind, bodies are kept.

    A container has a minute to accept and to say that it is well, not AWS's seconds: machines stall.
    """
    value = {
        "apiVersion": "pointsman-emulator/v1",
        "account": ACCOUNT,
        "region": REGION,
        "credentials": [{"access_key_id": ACCESS_KEY_ID, "secret_access_key": SECRET_ACCESS_KEY}],
        "keep": {"bodies": True},
        "models": MODELS if models is None else models,
        **settings,
        "limits": {"connect": 60, "ping": 60, **settings.get("limits", {})},
    }
    return load_config(json.dumps(value), "test")


def with_model(name: str, **changes: Any) -> dict[str, Any]:
    """The usual models, one of them changed."""
    return {**MODELS, name: {**MODELS[name], **changes}}


class Standin:
    """A running emulator and what tests do with it."""

    def __init__(self, emulator: Emulator, port: int) -> None:
        self.emulator = emulator
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._clients: list[Any] = []

    def close(self) -> None:
        """Close the connections of every client given out."""
        while self._clients:
            self._clients.pop().close()

    def client(
        self,
        service: str,
        *,
        access_key_id: str = ACCESS_KEY_ID,
        secret_access_key: str = SECRET_ACCESS_KEY,
        session_token: str | None = None,
        region: str = REGION,
        attempts: int = 1,
        url: str | None = None,
    ) -> Any:
        """A botocore client (what boto3 makes) for `sagemaker-runtime` or `bedrock-runtime`; one attempt by default."""
        client = _session().create_client(
            service,
            region_name=region,
            endpoint_url=url or self.url,
            aws_access_key_id=access_key_id,
            aws_secret_access_key=secret_access_key,
            aws_session_token=session_token,
            config=Config(retries={"total_max_attempts": attempts}, read_timeout=60, connect_timeout=30),
        )
        self._clients.append(client)
        return client

    def control(self, method: str, path: str, value: object = None) -> tuple[int, Any]:
        """Ask the control API (blocking); returns status and JSON."""
        body = None if value is None else json.dumps(value).encode()
        status, _, answer = self.http(method, f"/_emulator/{path}", body)
        return status, json.loads(answer)

    def http(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """A plain, unsigned request (blocking); returns status, lower-cased headers and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def set_faults(self, model: str, *faults: Mapping[str, Any] | str) -> None:
        """Replace a model's faults (in the emulator's own loop or before any call)."""
        self.emulator.models[model].set_faults(list(faults))


@asynccontextmanager
async def running_emulator(
    config: EmulatorConfig | None = None, *, clock: Clock | None = None
) -> AsyncIterator[Standin]:
    """The emulator in this loop, on port 0; drive it with `await asyncio.to_thread(...)`."""
    emulator = Emulator(config or config_of(), clock=clock)
    standin = Standin(emulator, await emulator.start("127.0.0.1", 0))
    try:
        yield standin
    finally:
        standin.close()
        await emulator.stop()


@contextmanager
def emulator_in_thread(config: EmulatorConfig | None = None, *, clock: Clock | None = None) -> Iterator[Standin]:
    """The emulator in a loop and thread of its own, for tests that are not async."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="emulator")
    thread.start()

    def inside(make: Callable[[], Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(make(), loop).result(60)

    try:
        emulator = Emulator(config or config_of(), clock=clock)
        standin = Standin(emulator, inside(lambda: emulator.start("127.0.0.1", 0)))
        try:
            yield standin
        finally:
            standin.close()
            inside(emulator.stop)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()


@cache
def _session() -> Any:
    return botocore.session.Session()
