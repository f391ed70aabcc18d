"""The stand-ins themselves: what they hold, and that each handler has its own."""

from __future__ import annotations

import importlib.util

import pytest

from proxy.handlers.guest.shims import MARK, Headers, HTTPException, JSONResponse, Response, marker, stand_ins


def test_names_that_customers_import_are_there() -> None:
    """The import lines of DJL's and AWS's documentation find something."""
    modules = stand_ins()
    for module, name in (
        ("djl_python", "Input"),
        ("djl_python", "Output"),
        ("djl_python.inputs", "Input"),
        ("djl_python.outputs", "Output"),
        ("djl_python.encode_decode", "decode"),
        ("djl_python.async_utils", "create_non_stream_output"),
        ("djl_python.input_parser", "input_formatter"),
        ("djl_python.output_formatter", "output_formatter"),
        ("model_hosting_container_standards.common.fastapi.middleware", "input_formatter"),
        ("vllm", "LLM"),
        ("fastapi", "Request"),
        ("fastapi.responses", "JSONResponse"),
    ):
        assert hasattr(modules[module], name), (module, name)


def test_parents_hold_their_parts() -> None:
    """`import a.b.c` and then `a.b.c` works, as with a real package."""
    modules = stand_ins()
    for name, module in modules.items():
        parent, _, last = name.rpartition(".")
        assert not parent or getattr(modules[parent], last) is module


def test_each_handler_has_its_own() -> None:
    """What one customer writes on a module, another does not see."""
    assert stand_ins()["djl_python"] is not stand_ins()["djl_python"]


def test_real_package_is_preferred() -> None:
    """Where the framework is installed, a customer's file gets the real one."""
    real = importlib.util.find_spec("fastapi") is not None
    assert ("fastapi" in stand_ins()) is not real


def test_decorator_leaves_the_function_as_it_is() -> None:
    """It only remembers what the function is for."""

    def function() -> int:
        return 1

    assert marker("djl_input")(function) is function
    assert getattr(function, MARK) == "djl_input"


def test_headers_ignore_case() -> None:
    """Field names are one whatever their case, as in HTTP."""
    headers = Headers({"Content-Type": "a"})
    headers["X-B"] = "b"
    assert (headers["content-type"], headers.get("x-b"), headers.get("none", 1)) == ("a", "b", 1)


@pytest.mark.parametrize(
    ("response", "body", "kind"),
    [
        (Response("é"), "é".encode(), None),
        (Response(b"x", media_type="a/b"), b"x", "a/b"),
        (Response(), b"", None),
        (JSONResponse({"a": 1}), b'{"a":1}', "application/json"),
    ],
)
def test_responses(response: Response, body: bytes, kind: str | None) -> None:
    """Text becomes UTF-8, a type is a header field."""
    assert (response.body, response.media_type) == (body, kind)


def test_http_exception_has_status_and_text() -> None:
    """Raised by a formatter, both reach the client."""
    error = HTTPException(404, "not here")
    assert (error.status_code, str(error)) == (404, "not here")


def test_response_of_json_is_json() -> None:
    """As starlette's own does, it refuses numbers that JSON has not."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        JSONResponse({"a": float("nan")})
