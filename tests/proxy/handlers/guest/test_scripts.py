"""Classic SageMaker scripts: called as the toolkit calls them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from proxy.handlers.guest.scripts import Script
from proxy.handlers.guest.values import Call, Reply
from tests.proxy.handlers.customers import call


async def script(folder: Path = Path("/model"), **hooks: Any) -> Script:
    made = Script(hooks, folder)
    await made.start()
    return made


async def test_input_fn_gets_text_or_bytes_and_the_content_type() -> None:
    """JSON and CSV are text, everything else is bytes, as in the toolkit."""
    seen: list[tuple[Any, str]] = []

    def input_fn(data: Any, content_type: str) -> bytes:
        seen.append((data, content_type))
        return b"out"

    own = await script(input_fn=input_fn)
    for kind in ("application/json", "text/csv; charset=utf-8", "application/x-npy"):
        assert (await own.before(call(b"in", content_type=kind))).body == b"out"
    assert seen == [("in", "application/json"), ("in", "text/csv; charset=utf-8"), (b"in", "application/x-npy")]


async def test_body_keeps_its_type_unless_it_is_json() -> None:
    """A dict goes out as JSON and says so; text keeps what the client said."""
    own = await script(input_fn=lambda data, content_type: {"inputs": data})
    given = await own.before(call(b"a,b", content_type="text/csv"))
    assert (given.body, given.content_type) == (b'{"inputs":"a,b"}', "application/json")
    own = await script(input_fn=lambda data, content_type: data.upper())
    given = await own.before(call(b"a,b", content_type="text/csv"))
    assert (given.body, given.content_type) == (b"A,B", "text/csv")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("application/json; charset=utf-8", {"a": 1}), ("text/plain", '{"a":1}'), (None, b'{"a":1}')],
)
async def test_output_fn_gets_the_models_answer_parsed(kind: str | None, expected: Any) -> None:
    """What `predict_fn` would have handed on: JSON as values, text as text, all else as bytes."""
    seen: list[Any] = []

    def output_fn(prediction: Any, accept: str) -> str:
        seen.append(prediction)
        return "x"

    own = await script(output_fn=output_fn)
    await own.after(Reply(b'{"a":1}', kind, None, call()))
    assert seen == [expected]


@pytest.mark.parametrize(
    ("accept", "told"),
    [(None, "application/json"), ("*/*", "application/json"), ("text/csv", "text/csv")],
)
async def test_accept_and_the_type_of_the_answer(accept: str | None, told: str) -> None:
    """A client that takes anything gets JSON; the answer's type is the accepted one, or the second of a pair."""
    own = await script(output_fn=lambda prediction, accept: accept)
    reply = await own.after(Reply(b"", "text/plain", None, call(accept=accept)))
    assert (reply.text(), reply.content_type) == (told, told)
    own = await script(output_fn=lambda prediction, accept: (b"x", "a/b"))
    reply = await own.after(Reply(b"", "text/plain", None, call(accept=accept)))
    assert (reply.body, reply.content_type) == (b"x", "a/b")


async def test_context_has_the_model_of_model_fn() -> None:
    """`model_fn` runs once with the file's folder; a function with one parameter more gets the context."""
    loads: list[str] = []

    async def model_fn(folder: str) -> str:
        loads.append(folder)
        return "tokenizer"

    def input_fn(data: Any, content_type: str, context: Any) -> str:
        folder = context.system_properties["model_dir"]
        return f"{context.model} {context.get_request_header(0, 'X-Own')} {folder}"

    own = await script(model_fn=model_fn, input_fn=input_fn)
    for _ in range(2):
        given = await own.before(call(headers={"x-own": "h"}))
        assert given.body == b"tokenizer h /model"
    assert loads == ["/model"]


async def test_wrong_number_of_arguments_is_named() -> None:
    """The function is named with what it should take."""
    own = await script(input_fn=lambda data: data)
    with pytest.raises(TypeError, match="takes 1 arguments; give it 2"):
        await own.before(call())


async def test_what_json_cannot_hold_is_named() -> None:
    """A dict may be returned: what is wrong with this one is said, not that it is a dict."""
    own = await script(input_fn=lambda data, content_type: {"of": {1, 2}})
    with pytest.raises(TypeError, match="input_fn returned a dict that JSON can't hold: Object of type set is not"):
        await own.before(call())


async def test_array_as_a_body_is_refused() -> None:
    """Where the toolkit passed objects on there is a wire now."""
    own = await script(input_fn=lambda data, content_type: 1.5, output_fn=lambda prediction, accept: object())
    with pytest.raises(TypeError, match="input_fn returned float; between here and the model there is a wire"):
        await own.before(call())
    with pytest.raises(TypeError, match="output_fn returned object"):
        await own.after(Reply(b"", None, None, call()))


async def test_steps_are_those_that_are_there() -> None:
    """A script without `output_fn` costs answers nothing, and a stream passes by."""
    own = await script(input_fn=lambda data, content_type: data)
    assert own.steps == {"before"}
    assert (await script(output_fn=json.dumps)).steps == {"after"}
    assert isinstance(await own.before(call()), Call)
