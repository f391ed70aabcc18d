"""Record what real vLLM answers in OpenAI's two dialects: `python -m tests.vllm.record_dialects [FOLDER]`.

Writes `vllm-chat.json` and `vllm-completions.json` (default folder: tests/data/dialects), each a list of exchanges with
`/invocations` of the tiny model: request, status, content type, body. The tests of backends/wire/dialects read them.
Run again when vLLM's lock changes, and look at what the difference says. Takes a minute and three engines, one after
the other: a plain one, one that parses tool calls, one that parses reasoning, whose tokenizer is given tokens for it.
"""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.engines import running_vllm, tiny_model
from tests.environments import environment

DATA = Path(__file__).parent.parent / "data" / "dialects"
THINK = ("<think>", "</think>")
MESSAGES = [{"role": "user", "content": "Is the train on time?"}]
CHAT: dict[str, Any] = {"messages": MESSAGES, "max_tokens": 8, "temperature": 0}
TEXT: dict[str, Any] = {"prompt": "The points of a railway", "max_tokens": 8, "temperature": 0}
USAGE = {"include_usage": True}
TOOL = {
    "type": "function",
    "function": {
        "name": "departures",
        "description": "Trains that leave a station.",
        "parameters": {
            "type": "object",
            "properties": {"station": {"enum": ["Bern", "Olten"]}},
            "required": ["station"],
            "additionalProperties": False,
        },
    },
}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"enum": ["red", "green"]}}}

PLAIN: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "openai-chat": [
        ("plain", CHAT),
        ("max_completion_tokens", {"messages": MESSAGES, "max_completion_tokens": 4, "temperature": 0}),
        ("stream", {**CHAT, "stream": True}),
        ("stream with usage", {**CHAT, "stream": True, "stream_options": USAGE}),
        ("logprobs", {**CHAT, "max_tokens": 3, "logprobs": True, "top_logprobs": 2}),
        ("logprobs stream", {**CHAT, "max_tokens": 3, "logprobs": True, "top_logprobs": 2, "stream": True}),
        ("n", {**CHAT, "max_tokens": 3, "temperature": 1, "seed": 7, "n": 2}),
        ("n stream", {**CHAT, "max_tokens": 3, "temperature": 1, "seed": 7, "n": 2, "stream": True}),
        ("stop", {**CHAT, "max_tokens": 64, "temperature": 1, "seed": 3, "stop": ["e"]}),
        ("seed", {**CHAT, "temperature": 1, "seed": 11}),
        ("response_format", {**CHAT, "max_tokens": 16, "response_format": SCHEMA}),
        ("image refused", {**CHAT, "messages": [{"role": "user", "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
        ]}]}),
        ("unknown key", {**CHAT, "nonsense": 1}),
        ("bad value", {**CHAT, "temperature": -1}),
        ("too long", {"messages": MESSAGES, "max_tokens": 100000}),
        ("bad value stream", {**CHAT, "temperature": -1, "stream": True}),
        ("tools refused", {**CHAT, "tools": [TOOL], "tool_choice": "auto"}),
    ],
    "openai-completions": [
        ("plain", TEXT),
        ("stream", {**TEXT, "stream": True}),
        ("stream with usage", {**TEXT, "stream": True, "stream_options": USAGE}),
        ("echo", {**TEXT, "echo": True, "max_tokens": 4}),
        ("echo stream", {**TEXT, "echo": True, "max_tokens": 4, "stream": True}),
        ("logprobs", {**TEXT, "max_tokens": 3, "logprobs": 2}),
        ("logprobs of one", {**TEXT, "max_tokens": 3, "logprobs": 1, "return_token_ids": True}),
        ("logprobs stream", {**TEXT, "max_tokens": 3, "logprobs": 1, "return_token_ids": True, "stream": True}),
        ("prompt logprobs", {**TEXT, "max_tokens": 2, "prompt_logprobs": 0, "return_token_ids": True}),
        ("n", {**TEXT, "max_tokens": 3, "temperature": 1, "seed": 7, "n": 2}),
        ("n stream", {**TEXT, "max_tokens": 3, "temperature": 1, "seed": 7, "n": 2, "stream": True}),
        ("stop", {**TEXT, "max_tokens": 64, "temperature": 1, "seed": 3, "stop": ["e"]}),
        ("seed", {**TEXT, "temperature": 1, "seed": 11}),
        ("two prompts", {**TEXT, "prompt": ["one", "two"], "max_tokens": 2}),
        ("structured_outputs", {**TEXT, "max_tokens": 8, "structured_outputs": {"choice": ["red", "green"]}}),
        ("bad value", {**TEXT, "temperature": -1}),
        ("too long", {**TEXT, "max_tokens": 100000}),
    ],
}  # fmt: skip


NAMED = {"type": "function", "function": {"name": "departures"}}
TOOLS: list[tuple[str, dict[str, Any]]] = [
    ("tool call", {**CHAT, "max_tokens": 200, "tools": [TOOL], "tool_choice": NAMED}),
    ("tool call stream", {**CHAT, "max_tokens": 200, "tools": [TOOL], "tool_choice": NAMED, "stream": True}),
    ("tool required", {**CHAT, "max_tokens": 200, "tools": [TOOL], "tool_choice": "required"}),
]


def thinking(token: int, bias: float, seed: int) -> list[tuple[str, dict[str, Any]]]:
    """Exchanges with the engine that parses reasoning; the bias makes a random model stop thinking."""
    body = {**CHAT, "max_tokens": 24, "temperature": 1, "seed": seed, "logit_bias": {str(token): bias}}
    return [
        ("reasoning", body),
        ("reasoning stream", {**body, "stream": True}),
        ("reasoning only", {**CHAT, "max_tokens": 4}),
    ]


def ask(url: str, body: dict[str, Any]) -> dict[str, Any]:
    """One exchange. `model` is named by header, which is how our `vllm` kind names it."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        headers = {"Content-Type": "application/json", "X-Amzn-SageMaker-Adapter-Identifier": "tiny"}
        connection.request("POST", "/invocations", json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        return {"status": answer.status, "content_type": answer.getheader("content-type"), "body": text}
    finally:
        connection.close()


def thinking_model(source: Path, folder: Path) -> tuple[Path, int]:
    """A copy of the tiny model whose two last tokens are the marks of reasoning; and the id of the closing one."""
    shutil.copytree(source, folder)
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    last = sorted(vocabulary, key=vocabulary.__getitem__)[-2:]
    ids = [vocabulary.pop(token) for token in last]
    joined = {"".join(pair) if isinstance(pair, list) else pair.replace(" ", "", 1): pair
              for pair in tokenizer["model"]["merges"]}  # fmt: skip
    tokenizer["model"]["merges"] = [pair for text, pair in joined.items() if text not in last]
    for mark, number in zip(THINK, ids, strict=True):
        vocabulary[mark] = number
        tokenizer["added_tokens"].append(
            {"id": number, "content": mark, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": False}
        )  # fmt: skip
    path.write_text(json.dumps(tokenizer))
    return folder, ids[1]


def reasoned(url: str, token: int) -> list[tuple[str, dict[str, Any]]]:
    """The first cases in which the model thinks, stops thinking, and says something."""
    for bias in (2.0, 3.0, 4.0, 5.0, 6.0):
        for seed in range(12):
            cases = thinking(token, bias, seed)
            answer = json.loads(ask(url, cases[0][1])["body"])
            message = answer["choices"][0]["message"] if "choices" in answer else {}
            if message.get("reasoning") and message.get("content"):
                return cases
    raise SystemExit("the model never stops thinking; try other biases")


def record(folder: Path) -> None:
    """Start the engines and write both files."""
    found: dict[str, list[dict[str, Any]]] = {dialect: [] for dialect in PLAIN}
    with tempfile.TemporaryDirectory() as temporary:
        with running_vllm(Path(temporary) / "plain.log", say=print) as engine:
            for dialect, cases in PLAIN.items():
                found[dialect] += [{"name": name, "request": body, **ask(engine.url, body)} for name, body in cases]
        flags = ("--enable-auto-tool-choice", "--tool-call-parser=hermes")
        with running_vllm(Path(temporary) / "tools.log", flags=flags, say=print) as engine:
            found["openai-chat"] += [{"name": name, "request": body, **ask(engine.url, body)} for name, body in TOOLS]
        model, closing = thinking_model(tiny_model(environment("vllm"))[0], Path(temporary) / "thinking")
        flags = (f"--model={model}", "--reasoning-parser=deepseek_r1")
        with running_vllm(Path(temporary) / "thinking.log", flags=flags, say=print) as engine:
            cases = reasoned(engine.url, closing)
            found["openai-chat"] += [{"name": name, "request": body, **ask(engine.url, body)} for name, body in cases]
    folder.mkdir(parents=True, exist_ok=True)
    for dialect, exchanges in found.items():
        name = f"vllm-{dialect.removeprefix('openai-')}.json"
        (folder / name).write_text(json.dumps(exchanges, indent=1, ensure_ascii=False) + "\n")
    print(f"recorded {sum(map(len, found.values()))} exchanges")


def main() -> None:
    """Record into the folder given, or where the tests look."""
    try:
        record(Path(sys.argv[1]) if sys.argv[1:] else DATA)
    except subprocess.SubprocessError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
