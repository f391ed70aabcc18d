"""OpenAI's API in pure form: which request is which, what is read of a body, errors that the package understands."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.wire import openai
from backends.wire.openai import LOOK_LIMIT, Asked, Operation, Problem, Refused

CHAT, TEXT, EMBED, MODELS = Operation.CHAT, Operation.COMPLETIONS, Operation.EMBEDDINGS, Operation.MODELS


@pytest.mark.parametrize(
    ("method", "path", "asked"),
    [
        ("POST", "/v1/chat/completions", Asked(CHAT)),
        ("POST", "/gw/a/v1/completions?x=1", Asked(TEXT)),
        ("POST", "/v1/embeddings/", Asked(EMBED)),
        ("GET", "/v1/models", Asked(MODELS)),
        ("GET", "/v1/models/inline", Asked(MODELS, model="inline")),
        ("GET", "/v1/models/codegen%2Fblockgen", Asked(MODELS, model="codegen/blockgen")),
        ("GET", "/v1/models/codegen/blockgen", Asked(MODELS, model="codegen/blockgen")),
        ("POST", "/endpoints/inline/openai/v1/chat/completions", Asked(CHAT, "inline")),
        ("POST", "/gw/endpoints/v1/openai/v1/completions", Asked(TEXT, "v1")),
        ("POST", "/endpoints/a%2Db/inference-components/c%2Fd/openai/v1/embeddings", Asked(EMBED, "a-b", "c/d")),
        ("GET", "/endpoints/a/openai/v1/models", Asked(MODELS, "a")),
        ("POST", "/endpoints/a/other/v1/chat/completions", Asked(CHAT)),
    ],
)
def test_request_lines_name_operation_and_model(method: str, path: str, asked: Asked) -> None:
    """Any prefix, SageMaker's two forms of URL, percent-encoded names, a query behind it."""
    assert openai.is_ours(path)
    assert openai.read_asked(method, path) == asked


@pytest.mark.parametrize(
    ("path", "ours"),
    [
        ("/endpoints/a/invocations", False),
        ("/gateway/v1/endpoints/a/async-invocations", False),
        ("/v1", False),
        ("/v1/", True),
        ("/v2/chat/completions", False),
        ("/v1/chat", True),
        ("/ping", False),
        ("/v1/modelsx", True),
        ("/v1/responses", True),
        ("/endpoints/a/openai/v1/audio/speech", True),
    ],
)
def test_what_is_not_offered_is_refused_in_openais_shape(path: str, ours: bool) -> None:
    """Below `/v1/` it is a client of OpenAI that asks; elsewhere it is another face's, or nobody's."""
    assert openai.is_ours(path) is ours
    with pytest.raises(Refused) as caught:
        openai.read_asked("POST", path)
    assert (caught.value.problem.status, caught.value.problem.code) == (404, "unknown_url")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/completions"), ("POST", "/v1/models"), ("\r\n", "/v1/models")]
)
def test_a_path_has_its_method(method: str, path: str) -> None:
    """The refusal names the method when it is a word."""
    with pytest.raises(Refused) as caught:
        openai.read_asked(method, path)
    assert caught.value.problem.status == 404
    assert "\r" not in caught.value.problem.message


@pytest.mark.parametrize(
    ("operation", "speaks", "title"),
    [
        (CHAT, "openai-chat", "ChatCompletions"),
        (TEXT, "openai-completions", "Completions"),
        (EMBED, "opaque", "Embeddings"),
        (MODELS, "opaque", "Models"),
    ],
)
def test_a_url_says_what_its_bodies_are(operation: Operation, speaks: str, title: str) -> None:
    """The dialect is known from the path; embeddings have none that could be translated."""
    assert (operation.speaks, operation.title) == (speaks, title)


@pytest.mark.parametrize(
    ("model", "parts"), [("a", ("a", None)), ("a/b", ("a", "b")), ("a/b/c", ("a", "b/c")), ("a/", ("a", ""))]
)
def test_a_model_is_an_endpoint_or_a_component_of_one(model: str, parts: tuple[str, str | None]) -> None:
    """What is no name at all stays so and is found nowhere."""
    assert openai.split_model(model) == parts


def test_the_model_of_a_body_is_read() -> None:
    """The one place where routing looks into a body."""
    assert openai.read_model(b'{"model": "a/b", "messages": []}') == "a/b"


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (b"", 400, None),
        (b"[]", 400, None),
        (b"{", 400, None),
        (b"{}", 400, "model"),
        (b'{"model": ""}', 400, "model"),
        (b'{"model": 1}', 400, "model"),
        (b'{"model": "a"}' + b" " * LOOK_LIMIT, 413, None),
    ],
)
def test_a_body_without_a_model_is_refused_with_the_way_on(body: bytes, status: int, param: str | None) -> None:
    """Not JSON, no model, or too long to be looked into."""
    with pytest.raises(Refused) as caught:
        openai.read_model(body)
    assert (caught.value.problem.status, caught.value.problem.param) == (status, param)


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b'{"stream": true}', True),
        (b'{"stream"\n:\ttrue, "a": 1}', True),
        (b'{"stream": false}', False),
        (b'{"stream": "true"}', False),
        (b'{"stream": truest}', False),
        (b'{"options": {"stream": true}}', False),
        (b'{"prompt": "\\"stream\\": true"}', False),
        (b'{"stream_options": {}}', False),
        (b'"stream": true', False),
        (b"\x93NUMPY", False),
        (b'{"options": {"stream": true}, "a": "' + b"x" * LOOK_LIMIT + b'"}', True),
        (b'{"stream": 1, "a": "' + b"x" * LOOK_LIMIT + b'"}', False),
    ],
)
def test_only_the_bodys_own_word_makes_a_stream(body: bytes, wanted: bool) -> None:
    """A key of the object itself and the literal true; in a very long body the text alone decides."""
    assert openai.wants_stream(body) is wanted


@settings(max_examples=100)
@given(st.recursive(st.booleans() | st.text(max_size=8), lambda of: st.dictionaries(st.text("stream", max_size=6), of)))
def test_the_word_is_found_exactly_where_it_stands(value: object) -> None:
    """For every JSON document the shortcut agrees with reading it whole."""
    expected = isinstance(value, dict) and value.get("stream") is True
    assert openai.wants_stream(json.dumps(value).encode()) is expected


def test_models_are_listed_as_openai_lists_them() -> None:
    """Identifier, owner, and 0 for a time nobody knows."""
    listed = json.loads(openai.write_models([("a", "team"), ("a/b", None)]))
    assert listed["object"] == "list"
    assert [(one["id"], one["owned_by"]) for one in listed["data"]] == [("a", "team"), ("a/b", "pointsman")]
    assert json.loads(openai.write_model("a", "team")) == listed["data"][0]
    assert (listed["data"][0]["object"], listed["data"][0]["created"]) == ("model", 0)


PROBLEMS = [
    openai.invalid("m", param="p", code="c"),
    openai.unknown_url("PUT"),
    openai.model_not_found("gpt\udcff"),
    openai.unauthorized("m"),
    openai.throttled("m", 1.2),
    openai.late(),
    openai.internal_error(),
    openai.server_error(502, "m", "c", may_have_run=True),
    openai.model_problem(418, "teapot", retry_after=None, may_have_run=False),
]


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: f"{problem.status} {problem.code}")
def test_every_error_has_openais_shape(problem: Problem) -> None:
    """Status, JSON, four keys, the request id; the event of a stream holds the same object."""
    status, headers, body = openai.write_problem(problem, "r-1")
    fields = dict(headers)
    assert (status, fields["Content-Type"], fields["x-request-id"]) == (problem.status, "application/json", "r-1")
    error = json.loads(body)["error"]
    assert list(error) == ["message", "type", "param", "code"]
    assert (error["type"], error["code"], error["param"]) == (problem.type, problem.code, problem.param)
    event = openai.write_event(problem)
    assert event.startswith(b"data: {")
    assert event.endswith(b"}\n\n")
    assert json.loads(event[6:])["error"] == error


@pytest.mark.parametrize(("wait", "told"), [(None, None), (0.0, "0"), (1.2, "2"), (-3.0, "0")])
def test_a_wait_is_in_whole_seconds(wait: float | None, told: str | None) -> None:
    """Rounded up, so that nobody comes early."""
    _, headers, _ = openai.write_problem(openai.throttled("m", wait), "r")
    assert dict(headers).get("Retry-After") == told


@pytest.mark.parametrize("ran", [True, False])
def test_what_may_have_run_is_not_to_be_sent_again(ran: bool) -> None:
    """The openai package obeys this header before it looks at the status."""
    _, headers, _ = openai.write_problem(openai.server_error(500, "m", "c", may_have_run=ran), "r")
    assert dict(headers).get("x-should-retry") == ("false" if ran else None)


def test_a_models_own_error_passes_unchanged() -> None:
    """vLLM answers in OpenAI's shape: every byte of it is the client's."""
    said = '{"error": {"message": "too long", "type": "BadRequestError", "param": null, "code": 400}}'
    problem = openai.model_problem(400, said, retry_after=None, may_have_run=False)
    assert openai.write_problem(problem, "r")[2] == said.encode()


@pytest.mark.parametrize(
    "said", ['{"error": "text", "error_type": "validation"}', "plain", "", '{"detail": "x"}', '["error"]']
)
def test_an_error_of_another_shape_is_put_into_this_one(said: str) -> None:
    """With the model's status and text."""
    problem = openai.model_problem(422, said, retry_after=None, may_have_run=False)
    status, _, body = openai.write_problem(problem, "r")
    assert status == 422
    assert said in json.loads(body)["error"]["message"]
    assert json.loads(body)["error"]["message"]


@pytest.mark.parametrize(
    ("status", "told", "kind"),
    [
        (400, 400, "invalid_request_error"),
        (503, 503, "server_error"),
        (0, 502, "server_error"),
        (302, 502, "server_error"),
    ],
)
def test_a_status_that_is_no_error_becomes_one(status: int, told: int, kind: str) -> None:
    """No answer of a model turns into something that is not an HTTP error."""
    problem = openai.model_problem(status, "x", retry_after=None, may_have_run=False)
    assert (problem.status, problem.type) == (told, kind)


def test_the_head_has_the_upstreams_type() -> None:
    """JSON where the model named none."""
    assert dict(openai.head("r", "text/event-stream"))["Content-Type"] == "text/event-stream"
    assert dict(openai.head("r", None))["Content-Type"] == "application/json"
    assert dict(openai.head("r", "a" * 60_000))["Content-Type"] == "application/json"
