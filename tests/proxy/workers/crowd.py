"""Clients with a connection each, so many that every worker has some of them, and what they got."""

from __future__ import annotations

import http.client
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from .serving import BODY

CLIENTS = 8
NEW_SESSION, SESSION = "X-Amzn-SageMaker-New-Session-Id", "X-Amzn-SageMaker-Session-Id"


@dataclass(frozen=True)
class Answer:
    """What a client got. `at` is when it had all of it, in seconds of time.monotonic."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes
    at: float

    @property
    def refusal(self) -> tuple[int, str]:
        return self.status, self.headers.get("x-amzn-ErrorType", "")


class Crowd:
    """Clients with a connection each, so many that each worker has some of them."""

    def __init__(self, port: int) -> None:
        self._pool = ThreadPoolExecutor(CLIENTS)
        self.connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=60) for _ in range(CLIENTS)]
        for connection in self.connections:
            connection.connect()

    def ask(self, endpoint: str, body: bytes = BODY, session: str = "") -> list[Future[Answer]]:
        """The same question of all of them at once."""
        return [self._pool.submit(_asked, connection, endpoint, body, session) for connection in self.connections]

    def answers(self, endpoint: str, body: bytes = BODY, session: str = "") -> list[Answer]:
        """The answers to it."""
        return [each.result() for each in self.ask(endpoint, body, session)]

    def one(self, number: int, endpoint: str, body: bytes = BODY) -> Future[Answer]:
        """A question of one of them."""
        return self._pool.submit(_asked, self.connections[number], endpoint, body, "")

    def streams(self, endpoint: str) -> list[Answer]:
        """What a stream comes to."""
        path = "invocations-response-stream"
        asking = [self._pool.submit(_asked, each, endpoint, BODY, "", path) for each in self.connections]
        return [each.result() for each in asking]

    def repeated(self, endpoint: str) -> list[Answer]:
        """The answers to what an SDK sends for the second time."""
        asking = [self._pool.submit(_asked, each, endpoint, BODY, "", sdk=2) for each in self.connections]
        return [each.result() for each in asking]

    def in_turn(self, endpoint: str, body: bytes) -> list[Answer]:
        """The same, one after the other."""
        return [_asked(connection, endpoint, body, "") for connection in self.connections]

    def close(self) -> None:
        for connection in self.connections:
            connection.close()
        self._pool.shutdown()


def _asked(
    connection: http.client.HTTPConnection,
    endpoint: str,
    body: bytes,
    session: str,
    operation: str = "invocations",
    sdk: int = 1,
) -> Answer:
    fields = {SESSION: session} if session else {}
    fields |= {"amz-sdk-request": f"attempt={sdk}; max=3"}
    connection.request("POST", f"/endpoints/{endpoint}/{operation}", body, fields)
    answer = connection.getresponse()
    return Answer(answer.status, answer.headers, answer.read(), time.monotonic())
