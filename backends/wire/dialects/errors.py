"""An error answer of a target's container, as the container that the client believes in would have said it."""

from __future__ import annotations

from typing import Any

import orjson

from ..restjson import read_object
from .keys import OPENAI

LONGEST = 2048
"""Characters of a message that are passed on; SageMaker's own error fields have as many."""
_OPENAI_TYPES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    413: "BadRequestError",
    422: "BadRequestError",
    429: "RateLimitError",
}
"""Status -> the error type of vLLM's or OpenAI's; others are InternalServerError."""


def translate_error(client: str, target: str, status: int, said: str) -> str:
    """The body of an error in the client's dialect, out of the body or the words of the target's.

    Within OpenAI's dialects it stays as it is. What is not of the target's dialect is taken for the words themselves.
    """
    if client in OPENAI and target in OPENAI and "error" in (read_object(said.encode("utf-8", "replace")) or {}):
        return said
    return write_error(client, status, read_error(said))


def read_error(said: str) -> str:
    """The words of an error: `error.message` (OpenAI), `error` (TGI, LMI), `message` (Bedrock, older vLLM), or all."""
    document: dict[str, Any] = read_object(said.encode("utf-8", "replace")) or {}
    error = document.get("error")
    inner = error.get("message") if isinstance(error, dict) else error
    message = inner if isinstance(inner, str) else document.get("message", document.get("Message"))
    return (message if isinstance(message, str) else said)[:LONGEST]


def write_error(client: str, status: int, message: str) -> str:
    """The body of an error that a container speaking `client` answers with; a status of 0 is no answer at all."""
    document: dict[str, Any]
    match client:
        case "openai-chat" | "openai-completions":
            kind = _OPENAI_TYPES.get(status, "BadRequestError" if 400 <= status < 500 else "InternalServerError")
            document = {"error": {"message": message, "type": kind, "param": None, "code": status}}
        case "tgi":
            kind = "overloaded" if status == 429 else "validation" if 400 <= status < 500 else "generation"
            document = {"error": message, "error_type": kind}
        case "lmi":
            document = {"error": message, "code": status}
        case _:
            document = {"message": message}
    return orjson.dumps(document).decode()
