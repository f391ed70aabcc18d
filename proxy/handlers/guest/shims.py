"""Modules that a customer's file imports and that exist only in the container it was written for.

Each handler gets its own set, and nobody else sees them (see `loading`). A real package is preferred where it is
installed, except for those whose place the proxy takes: `djl_python` and the decorators of the container standards,
which register themselves in a global of which there is one a process.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import AsyncIterator, Callable, Mapping
from types import ModuleType, SimpleNamespace
from typing import Any, TypeVar

from . import djl_values, engine

F = TypeVar("F", bound=Callable[..., Any])

MARK = "_pointsman_formatter"
"""Attribute that a decorator of a stand-in writes on a function."""

_STANDARDS = "model_hosting_container_standards"


class Headers(dict[str, str]):
    """Header fields by name in lower case."""

    def __init__(self, given: Mapping[str, str] | None = None) -> None:
        super().__init__()
        for name, value in (given or {}).items():
            self[name] = value

    def __setitem__(self, name: str, value: str) -> None:
        super().__setitem__(name.lower(), value)

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)


class Request:
    """Of starlette's Request what a formatter uses; assigning `_body` changes what goes to the model."""

    def __init__(self, body: bytes, headers: Mapping[str, str]) -> None:
        self._body = body
        self.headers = Headers(headers)
        self.method = "POST"
        self.url = SimpleNamespace(path="/invocations", query="")
        self.query_params: dict[str, str] = {}
        self.state = SimpleNamespace()

    async def body(self) -> bytes:
        return self._body

    async def json(self) -> Any:
        return json.loads(self._body)


class Response:
    """Of starlette's Response what a formatter uses."""

    def __init__(
        self,
        content: Any = b"",
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
    ) -> None:
        self.body = content.encode() if isinstance(content, str) else bytes(content or b"")
        self.status_code = status_code
        self.headers = Headers(headers)
        if media_type is not None:
            self.headers.setdefault("content-type", media_type)
        self.replaced_iterator: AsyncIterator[Any] | None = None

    @property
    def media_type(self) -> str | None:
        kind: str | None = self.headers.get("content-type")
        return kind

    @property
    def body_iterator(self) -> AsyncIterator[Any]:
        """The body in one piece, for formatters that read it as a stream."""
        return self.replaced_iterator or _once(self.body)

    @body_iterator.setter
    def body_iterator(self, iterator: AsyncIterator[Any]) -> None:
        self.replaced_iterator = iterator


class JSONResponse(Response):
    """A response of JSON."""

    def __init__(
        self,
        content: Any = None,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str = "application/json",
    ) -> None:
        super().__init__(json.dumps(content, allow_nan=False, separators=(",", ":")), status_code, headers, media_type)


class HTTPException(Exception):
    """An error with a status, raised by a formatter: the client gets both."""

    def __init__(self, status_code: int, detail: Any = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(str(detail))
        self.status_code = status_code
        self.detail = detail


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


def marker(mark: str) -> Callable[[F], F]:
    """A decorator that leaves a function as it is and remembers what it is for."""

    def decorate(function: F) -> F:
        setattr(function, MARK, mark)
        return function

    return decorate


def stand_ins() -> dict[str, ModuleType]:
    """A fresh set: full module name -> module, every parent included."""
    made: dict[str, dict[str, Any]] = djl_values.contents()
    made["djl_python.input_parser"] = {"input_formatter": marker("djl_input")}
    made["djl_python.output_formatter"] = {"output_formatter": marker("djl_output")}
    decorators = {"input_formatter": marker("standards_input"), "output_formatter": marker("standards_output")}
    made[f"{_STANDARDS}.common.fastapi.middleware"] = decorators
    if not _installed("vllm"):
        made["vllm"] = engine.contents()
    if not _installed("fastapi"):
        web = {"Request": Request, "Response": Response, "HTTPException": HTTPException}
        made["fastapi"] = web
        made["fastapi.responses"] = {"Response": Response, "JSONResponse": JSONResponse}
        if not _installed("starlette"):
            made["starlette.requests"] = {"Request": Request}
            made["starlette.responses"] = {"Response": Response, "JSONResponse": JSONResponse}
    return _modules(made)


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _modules(contents: Mapping[str, Mapping[str, Any]]) -> dict[str, ModuleType]:
    modules: dict[str, ModuleType] = {}
    for name in sorted(contents):
        parts = name.split(".")
        for depth in range(1, len(parts) + 1):
            full = ".".join(parts[:depth])
            if full not in modules:
                modules[full] = ModuleType(full, "A stand-in: this file's own container is not here.")
                modules[full].__path__ = []
                if depth > 1:
                    setattr(modules[".".join(parts[: depth - 1])], parts[depth - 1], modules[full])
        vars(modules[name]).update(contents[name])
    return modules
