"""`pointsman migrate diffs`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from backends.wire.capture import Capture, Payload, write_capture
from proxy.cli import main
from warmers.shadow.differences import stem_of

POLICY = """
apiVersion: pointsman/v1
account: "123456789012"
targets:
  a: {kind: vllm, url: "http://127.0.0.1:1", model: m}
  b: {kind: vllm, url: "http://127.0.0.1:2", model: m}
endpoints:
  chat:
    serve_from: a
    migrate:
      to: b
      steps: [{shadow: 5%, hold: 1h}, {share: 100%}]
      keep_differences: {folder: FOLDER, redact: nothing}
  quiet:
    serve_from: a
    migrate: {to: b, steps: [{share: 100%}]}
"""


def said(text: str) -> str:
    return json.dumps({"choices": [{"index": 0, "message": {"content": text}, "finish_reason": "stop"}]})


def keep(folder: Path, name: str, score: float, request: str, new: str | None = None, **own: Any) -> None:
    """Two lines of one difference."""
    answers = {"old": said("Paris."), "new": said("\x1b[31mBerlin.") if new is None else new}
    with (folder / f"{stem_of(name)}.w.jsonl").open("ab") as file:
        for side, text in answers.items():
            told = {"migration": name, "side": side, "target": side, "speaks": "openai-chat", "status": 200}
            told |= {
                "error": None,
                "broken": False,
                "score": score,
                "floor": 1.0,
                "parts": {"text": 0.25, "finish": 1.0},
            }
            told |= own if side == "new" else {}
            asked, answered = Payload("application/json", '{"a":1}'), Payload("application/json", text)
            file.write(write_capture(Capture(f"{request}-{side}", request, 1_800_000_000.0, asked, answered, told)))


def test_the_least_alike_come_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With what was asked, both answers and the parts that differ; a terminal obeys nothing that a model said."""
    keep(tmp_path, "chat", 0.7, "r-1")
    keep(tmp_path, "chat", 0.3, "r-2")
    keep(tmp_path, "chat", 0.5, "r-3")
    assert main(["migrate", "diffs", "chat", "--from", str(tmp_path), "--most", "2"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "3 differences of chat are kept here; the 2 least alike:",
        "",
        "r-2 at 2027-01-15T08:00:00Z: 0.30 alike, the A/A floor is 1.00 (text 0.25)",
        '  asked  {"a":1}',
        "  old    Paris. [stop]",
        "  new     [31mBerlin. [stop]",
        "",
        "r-3 at 2027-01-15T08:00:00Z: 0.50 alike, the A/A floor is 1.00 (text 0.25)",
        '  asked  {"a":1}',
        "  old    Paris. [stop]",
        "  new     [31mBerlin. [stop]",
    ]


def test_answers_of_every_kind_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Failures, broken streams, tool calls, long texts and what cannot be read."""
    tool = {"function": {"name": "weather", "arguments": '{"city": "Ulm"}'}}
    choice = {"index": 0, "message": {"content": "", "tool_calls": [tool]}}
    keep(tmp_path, "chat", 0.1, "r-1", "", status=424, error="ModelError")
    keep(tmp_path, "chat", 0.2, "r-2", "", broken=True)
    keep(tmp_path, "chat", 0.3, "r-3", json.dumps({"choices": [choice]}))
    keep(tmp_path, "chat", 0.4, "r-4", said("x" * 1000))
    keep(tmp_path, "chat", 0.5, "r-5", "<html>")
    assert main(["migrate", "diffs", "chat", "--from", str(tmp_path)]) == 0
    new = [line[9:] for line in capsys.readouterr().out.splitlines() if line.startswith("  new")]
    assert new == [
        "failed: 424 ModelError",
        "failed: 200 broke off",
        ' weather({"city": "Ulm"})',
        "x" * 400 + "...",
        "<html>",
    ]


def test_json_has_all_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whole bodies, scores, parts and both outcomes, for scripts."""
    keep(tmp_path, "chat", 0.25, "r-1")
    assert main(["migrate", "diffs", "chat", "--from", str(tmp_path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["kept"] == 1
    (one,) = document["differences"]
    assert (one["request"], one["score"], one["floor"], one["migration"]) == ("r-1", 0.25, 1.0, "chat")
    assert one["old"] == {
        "target": "old",
        "status": 200,
        "error": None,
        "broken": False,
        "content_type": "application/json",
        "text": said("Paris."),
    }


def test_the_policy_says_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --from the folder is the policy's, and the policy the fleet's own variable's."""
    policy, folder = tmp_path / "policy.yaml", tmp_path / "kept"
    policy.write_text(POLICY.replace("FOLDER", str(folder)))
    folder.mkdir()
    keep(folder, "chat", 0.5, "r-1")
    assert main(["migrate", "diffs", "chat", "--policy", str(policy)]) == 0
    assert "1 differences of chat" in capsys.readouterr().out
    monkeypatch.setenv("POINTSMAN_POLICY", str(policy))
    assert main(["migrate", "diffs", "chat", "--most", "1"]) == 0
    assert main(["migrate", "diffs", "quiet"]) == 2
    assert "add `keep_differences`" in capsys.readouterr().err
    assert main(["migrate", "diffs", "other"]) == 2
    assert "it has chat, quiet" in capsys.readouterr().err
    policy.write_text(POLICY + "nonsense: 1\n")
    assert main(["migrate", "diffs", "chat"]) == 1


def test_nothing_kept_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty folder is no error."""
    assert main(["migrate", "diffs", "chat", "--from", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "no differences of chat are kept here\n"


@pytest.mark.parametrize(
    ("more", "said_"),
    [
        (
            ["--from", "/nowhere/at/all"],
            "no answer has differed on this machine yet, or it serves nothing; run this on a machine that serves",
        ),
        ([], "give --from FOLDER, or --policy FILE"),
        (["--from", "/", "--most", "0"], "--most"),
    ],
)
def test_what_is_missing_is_named(more: list[str], said_: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each mistake is one line with its remedy."""
    assert main(["migrate", "diffs", "chat", *more]) == 2
    assert said_ in capsys.readouterr().err


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder in a file's place stands for one that belongs to another user, which a superuser could read."""
    (tmp_path / f"{stem_of('chat')}.w.jsonl").mkdir()
    assert main(["migrate", "diffs", "chat", "--from", str(tmp_path)]) == 2
    assert "cannot read" in capsys.readouterr().err
