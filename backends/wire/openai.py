"""OpenAI's API as its server: which operation a request line names, what of a body routing needs, errors in its shape.

Bodies are opaque. Two things are read of them, and only where they are needed: `stream`, which decides how the answer
is written, and, on the plain paths whose URL names no endpoint, `model`. A body longer than `LOOK_LIMIT` is not parsed.

Promises: every error is `{"error": {"message", "type", "param", "code"}}` with `x-request-id`; a model's own error body
passes unchanged when it has that shape. `x-should-retry: false` (which the openai package obeys) is on every answer
after which the model may have run, since the package sends 408, 409, 429 and all 5xx again by itself.
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

import orjson

from ..base import Headers
from .restjson import read_object
from .sagemaker.errors import clip
from .sagemaker.fields import printable
from .sagemaker.replies import LONGEST

LOOK_LIMIT = 8 * 1024 * 1024
"""Bytes of the longest body that is parsed; orjson takes about 8 ms for it, and some bodies 20 times their size."""

EVENT_TYPE = "text/event-stream"
_JSON = "application/json"
_LONGEST_NAME = 256
"""Characters of a model's name that are repeated in an error."""


class Operation(enum.Enum):
    """What is served; the value is the end of the path."""

    CHAT = "chat/completions"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"
    MODELS = "models"

    @property
    def speaks(self) -> str:
        """The dialect of its bodies."""
        return {"chat/completions": "openai-chat", "completions": "openai-completions"}.get(self.value, "opaque")

    @property
    def title(self) -> str:
        """Its name in logs."""
        return {"chat/completions": "ChatCompletions"}.get(self.value, self.value.capitalize())


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request line asks for. Names are percent-decoded."""

    operation: Operation
    endpoint: str | None = None
    """None on a plain path, where the body's `model` names it."""
    component: str | None = None
    model: str | None = None
    """`GET /v1/models/{model}`."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One error answer, before it is bytes."""

    status: int
    message: str
    type: str
    code: str | None = None
    param: str | None = None
    retry_after: float | None = None
    """Seconds."""
    may_have_run: bool = False
    """The client should not send it again by itself."""
    body: bytes | None = None
    """A model's own error, to be passed on instead."""


class Refused(Exception):
    """The caller's request cannot be served as it stands; `problem` is the whole answer."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


_PATH = re.compile(
    r".*?(?:/endpoints/(?P<endpoint>[^/]*)(?:/inference-components/(?P<component>[^/]*))?/openai)?"
    r"/v1/(?P<operation>chat/completions|completions|embeddings|models(?:/(?P<model>[^?]+))?)/?",
    re.DOTALL,
)
_METHODS = {Operation.MODELS: "GET"}


def is_ours(raw_path: str) -> bool:
    """Whether a path (percent-encoded, with or without a query) is of this API, also where we offer nothing there.

    Its clients expect a refusal in its own shape. What goes on to an endpoint's path behind `/v1/` has it as a prefix.
    """
    _, mark, rest = raw_path.partition("?")[0].rpartition("/v1/")
    return bool(mark) and "/endpoints/" not in f"/{rest}"


def read_asked(method: str, raw_path: str) -> Asked:
    """What a request line asks for.

    Raises:
        Refused: it is not an operation of this API, or not its method.
    """
    found = _PATH.fullmatch(raw_path.partition("?")[0])
    if found is None:
        raise Refused(unknown_url(method))
    model = found["model"]
    operation = Operation.MODELS if model is not None else Operation(found["operation"])
    if method != _METHODS.get(operation, "POST"):
        raise Refused(unknown_url(method))
    return Asked(operation, _decoded(found["endpoint"]), _decoded(found["component"]), _decoded(model))


def _decoded(name: str | None) -> str | None:
    return None if name is None else unquote(name, errors="replace")


def split_model(model: str) -> tuple[str, str | None]:
    """`endpoint` or `endpoint/component`, taken apart."""
    endpoint, slash, component = model.partition("/")
    return endpoint, component if slash else None


def read_model(body: bytes) -> str:
    """The body's `model`.

    Raises:
        Refused: there is none, or the body is no JSON object, or is too long to be looked into.
    """
    if len(body) > LOOK_LIMIT:
        said = f"A body of more than {LOOK_LIMIT} bytes is not looked into for its model"
        raise Refused(invalid(f"{said}: send it to /endpoints/NAME/openai/v1 instead.", status=413))
    document = read_object(body)
    if document is None:
        raise Refused(invalid("The body is not a JSON object."))
    model = document.get("model")
    if not isinstance(model, str) or not model:
        said = "The body names no model: give `endpoint` or `endpoint/component`, or call /endpoints/NAME/openai/v1."
        raise Refused(invalid(said, param="model"))
    return model


_STREAM = re.compile(rb'"stream"\s*:\s*true\b')


def wants_stream(body: bytes) -> bool:
    """Whether a JSON body asks for a stream.

    One longer than `LOOK_LIMIT` is not parsed: there a key `stream` inside another object counts as well.
    """
    if b'"stream"' not in body or _STREAM.search(body) is None:
        return False
    return len(body) > LOOK_LIMIT or (read_object(body) or {}).get("stream") is True


def write_models(owners: Iterable[tuple[str, str | None]]) -> bytes:
    """The answer to `GET /v1/models`, from (model, owner) pairs. When a model was made is not known: 0."""
    return orjson.dumps({"object": "list", "data": [_model(*each) for each in owners]})


def write_model(model: str, owner: str | None) -> bytes:
    """The answer to `GET /v1/models/{model}`."""
    return orjson.dumps(_model(model, owner))


def _model(model: str, owner: str | None) -> dict[str, str | int]:
    return {"id": model, "object": "model", "created": 0, "owned_by": owner or "pointsman"}


def head(request_id: str, content_type: str | None) -> Headers:
    """Header fields of every answer. A type that is longer than any is, which some clients would fail at, is none."""
    kind = content_type if content_type and len(content_type) <= LONGEST else _JSON
    return (("x-request-id", request_id), ("x-amzn-RequestId", request_id), ("Content-Type", kind))


def write_problem(problem: Problem, request_id: str) -> tuple[int, Headers, bytes]:
    """Status, header fields and body of an error answer."""
    headers = head(request_id, _JSON)
    if problem.retry_after is not None:
        headers += (("Retry-After", str(math.ceil(max(problem.retry_after, 0.0)))),)
    if problem.may_have_run:
        headers += (("x-should-retry", "false"),)
    return problem.status, headers, problem.body if problem.body is not None else _document(problem)


def write_event(problem: Problem) -> bytes:
    """The event that ends a broken stream: the openai package raises `APIError` at it. No `[DONE]` follows."""
    return b"data: " + _document(problem) + b"\n\n"


def _document(problem: Problem) -> bytes:
    error = {"message": clip(problem.message), "type": problem.type, "param": problem.param, "code": problem.code}
    return orjson.dumps({"error": error})


def invalid(message: str, *, status: int = 400, code: str | None = None, param: str | None = None) -> Problem:
    """The request itself is wrong."""
    return Problem(status, message, "invalid_request_error", code, param)


def unknown_url(method: str) -> Problem:
    shown = method if re.fullmatch(r"[A-Z]{1,16}", method) else "That method"
    return invalid(f"{shown} is not offered on this URL.", status=404, code="unknown_url")


def model_not_found(model: str, hint: str = "") -> Problem:
    name = clip(printable(model), _LONGEST_NAME)
    said = f"The model `{name}` does not exist or you do not have access to it."
    return invalid(said + hint, status=404, code="model_not_found", param="model")


def unauthorized(message: str) -> Problem:
    return Problem(401, message, "authentication_error", "invalid_api_key")


def throttled(message: str, retry_after: float | None, code: str = "rate_limit_exceeded") -> Problem:
    return Problem(429, message, "rate_limit_error", code, retry_after=retry_after)


def late() -> Problem:
    said = "The model did not answer within the time limit of this endpoint."
    return Problem(504, said, "timeout_error", "deadline_exceeded", may_have_run=True)


def server_error(status: int, message: str, code: str, *, may_have_run: bool) -> Problem:
    return Problem(status, message, "server_error", code, may_have_run=may_have_run)


def internal_error() -> Problem:
    return server_error(
        500, "The server had an error while processing your request.", "internal_error", may_have_run=True
    )


def model_problem(status: int, text: str, *, retry_after: float | None, may_have_run: bool) -> Problem:
    """The model's own error: its status, and its body too when that is an error of this API."""
    raw = text.encode("utf-8", "replace")
    own = '"error"' in text and isinstance((read_object(raw) or {}).get("error"), dict)
    return Problem(
        status if 400 <= status <= 599 else 502,
        text or "The model answered with an error.",
        "invalid_request_error" if 400 <= status < 500 else "server_error",
        "model_error",
        retry_after=retry_after,
        may_have_run=may_have_run,
        body=raw if own else None,
    )
