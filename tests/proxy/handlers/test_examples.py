"""The handlers that ship, with requests as their clients send them: each convention from end to end."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from backends.base import Reply
from proxy.handlers.errors import HandlerError
from tests.proxy.handlers.customers import Handled, events, handled

ROOT = Path(__file__).parents[3]
RUNS = pytest.mark.parametrize("run", ["thread", "process"])


@asynccontextmanager
async def example(
    tmp_path: Path, file: str, run: str, route: str = "owner: us", more: str = ""
) -> AsyncIterator[Handled]:
    """The handler of a file of this project, with what stands beside it."""
    source = ROOT / file
    for each in [source] if source.parent == ROOT else source.parent.glob("*.*"):
        shutil.copy(each, tmp_path / ("model.py" if each == source else each.name))
    async with handled(tmp_path, None, f"run: {run}", more, route) as proxy:
        yield proxy


@RUNS
async def test_reference_handler(tmp_path: Path, run: str) -> None:
    """Addresses stay with us, moderation is asked first, long prompts and pings don't reach the model."""
    async with example(tmp_path, "model.py", run, more="moderation: {serve_from: first}") as proxy:
        proxy.answers({"flagged": False}, {"generated_text": "Dear <email-0>, dear <email-0>"})
        body = {"inputs": "Write to a.b@c.org and a.b@c.org", "moderate": True}
        reply, _ = await proxy.ask(json.dumps(body).encode())
        assert json.loads(reply.body) == {"generated_text": "Dear a.b@c.org, dear a.b@c.org"}
        masked = {"inputs": "Write to <email-0> and <email-0>"}
        assert [json.loads(sent) for sent in proxy.sent()] == [masked, masked]
        assert json.loads((await proxy.ask(b'{"inputs":"ping"}'))[0].body) == {"generated_text": "pong"}
        with pytest.raises(HandlerError, match="8000 is the most"):
            await proxy.ask(json.dumps({"inputs": "x" * 8001}).encode())
        proxy.answers({"flagged": True})
        with pytest.raises(HandlerError, match="refused by moderation") as caught:
            await proxy.ask(b'{"inputs":"bad","moderate":true}')
        assert caught.value.status == 422
        proxy.answers(Reply(b'"as it was"'))
        assert (await proxy.ask(b"[]", content_type="text/plain"))[0].body == b'"as it was"'


async def test_reference_handler_of_a_stream(tmp_path: Path) -> None:
    """Log-probabilities are taken out of TGI's events, everything else passes."""
    async with example(tmp_path, "model.py", "inline") as proxy:
        proxy.answers(events('{"token":{"text":"a","logprob":-1}}', "[DONE]"))
        reply, _ = await proxy.ask(b'{"inputs":"x"}', streaming=True)
        assert reply.body == b'data: {"token":{"text":"a"}}\n\ndata: [DONE]\n\n'


@RUNS
async def test_classic_script(tmp_path: Path, run: str) -> None:
    """CSV in and out, labels from the file beside it."""
    async with example(tmp_path, "examples/handlers/classic/inference.py", run) as proxy:
        answer = [{"label": "LABEL_1", "score": 0.9}, {"label": "LABEL_0", "score": 0.8}]
        proxy.answers(answer, answer)
        reply, _ = await proxy.ask(b"text\ngood\nbad\n", content_type="text/csv", accept="text/csv")
        assert (reply.body, reply.content_type) == (b"positive,0.9\nnegative,0.8", "text/csv")
        assert json.loads(proxy.sent()[0]) == {"inputs": ["good", "bad"]}
        reply, _ = await proxy.ask(b'{"inputs":"good"}')
        assert json.loads(reply.body)[0] == {"label": "positive", "score": 0.9}


@RUNS
async def test_djl_handle(tmp_path: Path, run: str) -> None:
    """`llm.generate` is a request of the route's dialect; a streaming client gets the answer in one piece."""
    async with example(tmp_path, "examples/handlers/djl/model.py", run, "clients_speak: lmi") as proxy:
        proxy.answers({"generated_text": " Paris "}, {"generated_text": "Rome"})
        reply, record = await proxy.ask(b'{"question":"Capital of France?","length":5}')
        assert json.loads(reply.body) == {"answer": "Paris"}
        sent = json.loads(proxy.sent()[0])
        assert sent["inputs"].endswith("Capital of France?\n### Answer:\n")
        assert sent["parameters"] == {"max_new_tokens": 5}
        assert len(record.attempts) == 1
        reply, _ = await proxy.ask(b'{"question":"Capital of Italy?"}', streaming=True)
        assert json.loads(reply.body) == {"answer": "Rome"}


@RUNS
async def test_formatters(tmp_path: Path, run: str) -> None:
    """A TGI client of an engine that completes prompts."""
    async with example(tmp_path, "examples/handlers/formatters/model.py", run) as proxy:
        proxy.answers({"choices": [{"text": "Paris"}]})
        reply, _ = await proxy.ask(b'{"inputs":"Capital of France?"}')
        assert json.loads(reply.body) == {"generated_text": "Paris"}
        assert json.loads(proxy.sent()[0]) == {"prompt": "Capital of France?", "max_tokens": 16}
