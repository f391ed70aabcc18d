"""What every driver speaks with the test: one JSON line for a call, and for its answer as many lines as there is news.

A driver runs inside its client's environment (`python -m tests.clients.drive_boto3`, from the checkout), reads one
`Ask` a line from standard input and prints lines of one key each: `began` when the client has the head of a stream,
`part` for every PayloadPart the moment the client hands it out, and `done`, always last and always once. So a test can
hold back what the model sends next until the client has shown what came before. Standard library only, since no two of
the environments have more in common.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any, TypedDict

UNARY = "InvokeEndpoint"
STREAM = "InvokeEndpointWithResponseStream"


class Ask(TypedDict):
    """One call."""

    operation: str
    params: dict[str, str]
    """Members of the operation's input, by the names of the API model, without the body."""
    body: str
    """Base64."""
    attempts: int | None
    """How often the client may try in all; None leaves it to the client's own defaults."""
    read_timeout: float


class Told(TypedDict):
    """What the client raised, in its own words."""

    kind: str
    """Name of the exception's class."""
    code: str | None
    message: str
    members: dict[str, Any]
    """Modelled members of the error, such as OriginalStatusCode."""


class Done(TypedDict):
    """How a call ended."""

    status: int | None
    """HTTP status; None where the client does not tell."""
    members: dict[str, Any]
    headers: dict[str, str] | None
    """Names in lower case; None where the client does not tell."""
    body: str
    error: Told | None
    retries: int | None


def asks() -> Iterator[Ask]:
    """The calls that arrive on standard input, until it is closed."""
    for line in sys.stdin:
        yield json.loads(line)


def say(**news: object) -> None:
    """Print one line of news at once."""
    sys.stdout.write(json.dumps(news, default=str) + "\n")
    sys.stdout.flush()


def part(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event of a stream: bytes in base64 when it is a PayloadPart, else its member names."""
    if "PayloadPart" in event:
        return {"bytes": pack(event["PayloadPart"].get("Bytes", b""))}
    return {"other": sorted(event)}


def done(response: Mapping[str, Any], body: bytes, error: Told | None) -> Done:
    """The end of a call made with botocore; `response` is its parsed answer, or that of the exception."""
    metadata = response.get("ResponseMetadata", {})
    members = {name: value for name, value in response.items() if name not in ("ResponseMetadata", "Body", "Error")}
    return {
        "status": metadata.get("HTTPStatusCode"),
        "members": {} if error else members,
        "headers": metadata.get("HTTPHeaders"),
        "body": pack(body),
        "error": error,
        "retries": metadata.get("RetryAttempts"),
    }


def told(error: Exception) -> Told:
    """An exception as a program that catches it sees it; botocore's carry `response`, others nothing."""
    response: Mapping[str, Any] = getattr(error, "response", None) or {}
    said = response.get("Error", {})
    members = {name: value for name, value in response.items() if name not in ("ResponseMetadata", "Error")}
    return {
        "kind": type(error).__name__,
        "code": said.get("Code"),
        "message": said.get("Message", str(error)),
        "members": members,
    }


def pack(data: bytes) -> str:
    return base64.b64encode(data).decode()


def unpack(text: str) -> bytes:
    return base64.b64decode(text)
