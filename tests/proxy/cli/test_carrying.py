"""What `explain` says of dialects."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backends.wire.dialects.keys import TABLES, fate
from proxy.cli import main

POLICY = """\
apiVersion: pointsman/v1
account: "123456789012"
targets:
  import:
    kind: bedrock
    model: arn:aws:bedrock:us-east-1:123456789012:imported-model/apexguru0001
    speaks: bedrock-completion
  chat: {kind: vllm, model: m, url: "http://127.0.0.1:8000", speaks: openai-chat}
  tgi: {kind: endpoint, endpoint: t, region: us-east-1, speaks: tgi}
endpoints:
  helper:
    clients_speak: openai-chat
    serve_from: chat
    fallback: [import]
    translate: {chat_template: t.jinja, drop: [seed, user, stop, max_tokens]}
  text:
    clients_speak: tgi
    split: {tgi: 1, chat: 1}
    translate: {prompt_as: user-message}
  plain: {clients_speak: tgi, serve_from: tgi}
  opaque: {serve_from: tgi}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "t.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


def test_what_is_dropped_and_what_refused(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each target has its line; only keys that can't be carried are told, those that the policy drops apart."""
    assert main(["explain", str(file), "--endpoint", "helper"]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("  dialects, clients speak openai-chat")
    assert lines[at + 1] == "    chat speaks openai-chat: bytes pass"
    assert lines[at + 2] == ("    import speaks bedrock-completion: translated, a chat by the policy's chat_template")
    assert lines[at + 3] == "      dropped seed, stop, user"
    assert lines[at + 4].startswith("      refused add_special_tokens, ")
    told = " ".join(line.strip() for line in lines[at + 4 :]).removeprefix("refused ").split(", ")
    lost = {key.name for key in TABLES["openai-chat"] if fate("openai-chat", "bedrock-completion", key) is None}
    assert told == sorted(lost - {"seed", "user", "stop"})
    assert all(len(line) <= 120 for line in lines[at:])


def test_prompt_as_is_named(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The word of the policy that allows it stands beside it."""
    assert main(["explain", str(file), "--endpoint", "text"]) == 0
    said = capsys.readouterr().out
    assert "    tgi speaks tgi: bytes pass\n" in said
    assert "    chat speaks openai-chat: translated, a prompt as one user message (prompt_as)\n" in said


@pytest.mark.parametrize("endpoint", ["plain", "opaque"])
def test_nothing_is_said_of_bytes(endpoint: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where no target needs a translation the explanation is as short as before."""
    assert main(["explain", str(file), "--endpoint", endpoint]) == 0
    assert "dialects" not in capsys.readouterr().out


def test_a_program_reads_the_same(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON always has the dialects."""
    assert main(["explain", str(file), "--json", "--endpoint", "text"]) == 0
    told = json.loads(capsys.readouterr().out)["dialects"]
    assert told["clients_speak"] == "tgi"
    assert told["targets"]["tgi"] == {"speaks": "tgi", "how": "as bytes", "dropped": [], "refused": []}
    assert told["targets"]["chat"]["how"] == "with `prompt_as: user-message`"
    assert "watermark" in told["targets"]["chat"]["refused"]
