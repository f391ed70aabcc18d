"""A dedicated endpoint, an import, a fleet in front of both, and boto3 clients that never stop calling."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, TypeVar

import botocore.session
from botocore.config import Config

from backends.state import open_store
from proxy.cli import main
from tests.listening import listening
from tests.standins import ACCESS_KEY_ID, IMPORT_ARN, REGION, SECRET_ACCESS_KEY, Standin
from warmers.migrations.ledger import Kept, Ledger

T = TypeVar("T")

TIMEOUT = 60.0
"""Seconds: the route's deadline, far from what a call takes on a machine that is ten times too busy."""
LOOK = 0.25
STEPS = "[{share: 5%, hold: 1s}, {share: 25%, hold: 1s}, {share: 50%, hold: 1s, approve: owner}, {share: 100%}]"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
    "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
    "AWS_DEFAULT_REGION": REGION,
}
BODY = json.dumps({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}).encode()


def policy_of(standin: Standin, steps: str = STEPS, more: str = "", breach: str = "start") -> str:
    """One endpoint that moves from a dedicated endpoint to an import."""
    return f"""
apiVersion: pointsman/v1
account: "123456789012"
targets:
  gpu: {{kind: endpoint, endpoint: dedicated, url: "{standin.url}", region: {REGION}, speaks: openai-chat}}
  import: {{kind: bedrock, model: "{IMPORT_ARN}", url: "{standin.url}", region: {REGION}, speaks: openai-chat}}
endpoints:
  apexguru:
    owner: apexguru-team
    clients_speak: openai-chat
    serve_from: gpu
    fallback: [gpu]
    timeout: {TIMEOUT:.0f}s
    idempotent: true
    sticky_by: inference-id
    migrate:
      to: import
      steps: {steps}
      gates: {{errors: at most +10 points}}
      false_alarms: 5%
      on_breach: {{errors: {breach}, otherwise: last-good}}
      keep: {{gpu: {{can_take: 100%, until: 1d after 100%}}}}
{more}"""


@dataclass
class Clients:
    """boto3 clients as they are shipped, each in a thread, one request after the other."""

    port: int
    count: int = 4
    answers: Counter[str] = field(default_factory=Counter)
    """By target that answered."""
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Clients:
        session, numbers = botocore.session.Session(), itertools.count(1)
        for _ in range(self.count):
            client = session.create_client(
                "sagemaker-runtime",
                region_name=REGION,
                endpoint_url=f"http://127.0.0.1:{self.port}",
                aws_access_key_id="any",
                aws_secret_access_key="any",
                config=Config(read_timeout=2 * TIMEOUT, connect_timeout=30),
            )
            self._threads.append(threading.Thread(target=self._call, args=(client, numbers)))
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call(self, client: Any, numbers: Iterator[int]) -> None:
        while not self._stop.wait(0.01):  # so that what they call has a turn on a machine of one core, too
            began = time.monotonic()
            try:
                answer = client.invoke_endpoint(
                    EndpointName="apexguru",
                    ContentType="application/json",
                    InferenceId=f"caller-{next(numbers)}",
                    Body=BODY,
                )
                json.loads(answer["Body"].read())
                headers = answer["ResponseMetadata"]["HTTPHeaders"]
                self.answers[headers["x-pointsman-target"]] += 1
            except Exception as error:
                self.failures.append(f"{type(error).__name__}: {error}")
            self.slowest = max(self.slowest, time.monotonic() - began)
        client.close()


class Fleet:
    """What an operator has: the policy and the shared state."""

    def __init__(self, policy: Path, address: str) -> None:
        self.policy = policy
        self.address = address

    def order(self, *words: str) -> int:
        """The exit code of a command."""
        return main([*words, "--policy", str(self.policy), "--state", self.address])

    def ask(self, work: Callable[[Ledger], Awaitable[T]]) -> T:
        async def whole() -> T:
            store = open_store(self.address)
            try:
                return await work(Ledger(store))
            finally:
                await store.aclose()

        return asyncio.run(whole())

    def kept(self) -> Kept:
        return self.ask(lambda ledger: ledger.states())["apexguru"]

    def history(self) -> list[dict[str, Any]]:
        return self.ask(lambda ledger: ledger.history("apexguru"))

    def until(self, holds: Callable[[Kept], bool], seconds: float = 240.0) -> Kept:
        """Look at the migration until `holds`."""
        end = time.monotonic() + seconds
        while not holds(kept := self.kept()):
            assert time.monotonic() < end, (kept.state, self.ask(lambda ledger: ledger.report("apexguru")))
            time.sleep(LOOK / 2)
        return kept


class Pager(HTTPServer):
    """A webhook; `told` has what was posted."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Hook)
        self.told: list[dict[str, Any]] = []
        self.came = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook"


class _Hook(BaseHTTPRequestHandler):
    server: Pager

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""

    def do_POST(self) -> None:
        self.server.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.server.came.set()
        self.send_response(204)
        self.end_headers()


@contextmanager
def pager() -> Iterator[Pager]:
    """A webhook that answers until the block is left."""
    with listening(Pager()) as server:
        yield server


@contextmanager
def watched(clients: Clients) -> Iterator[Clients]:
    """Clients that call while the block runs, and of which none may have failed or waited beyond its deadline."""
    with clients:
        yield clients
    assert clients.failures == []
    assert clients.slowest <= TIMEOUT
