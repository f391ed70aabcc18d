"""`pointsman explain`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from policies.table import Miss, RouteTable
from proxy.cli import main
from proxy.cli.explain import miss_message

POLICY = """\
apiVersion: pointsman/v1
account: "123456789012"
targets:
  a: {kind: endpoint, endpoint: a, region: us-east-1}
  small: {kind: endpoint, endpoint: s, region: us-east-1, body_limit: 1KB}
  engine: {kind: vllm, model: m, urls: ["http://127.0.0.1:8000", "http://127.0.0.1:8001"]}
endpoints:
  drawn:
    split: {a: 3, small: 1}
    fallback: [engine]
  sticky:
    sticky_by: header:X-User
    split: {a: 1, small: 1, engine: 0}
  lone: {serve_from: engine, timeout: 1.5s}
  packed: {components: {one: {serve_from: a}, two: {serve_from: a, sticky_by: session}}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


def explained(capsys: pytest.CaptureFixture[str], file: Path, *arguments: str) -> str:
    assert main(["explain", str(file), *arguments]) == 0
    return capsys.readouterr().out


def facts(capsys: pytest.CaptureFixture[str], file: Path, *arguments: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(explained(capsys, file, "--json", *arguments))
    return told


def test_split_without_a_key(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rule, line, shares and one possible order, said to be one of several."""
    lines = explained(capsys, file, "--endpoint", "drawn").splitlines()
    assert lines[0].startswith(f"drawn: endpoints.drawn.split ({file}:9), policy ")
    assert "     75.00%  a" in lines
    assert "     25.00%  small" in lines
    assert "  order, one possible draw" in lines
    assert lines[-1] == "    2. engine (vllm, replica 1)"


def test_lone_target_is_shown_with_its_second_try(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Replicas and repeated tries are what the proxy would do."""
    out = explained(capsys, file, "--endpoint", "lone")
    assert "    1. engine (vllm, replica 1)\n    2. engine (vllm, replica 0, again)\n" in out
    assert "deadline 1.5 s, streams 480 s; at most 2 attempts" in out
    assert "shares" not in out


@pytest.mark.parametrize(
    ("hedge", "told"),
    [
        ("{after: 500ms}", "after 500ms, for at most 2% of the requests"),
        (
            "{after: p95, until_known: 1s, budget: 5%}",
            "after p95 of what its recent answers took, at least 20ms (1s until 100 are known), for at most 5% of the "
            "requests",
        ),
    ],
)
def test_hedges_are_told(file: Path, capsys: pytest.CaptureFixture[str], hedge: str, told: str) -> None:
    """When, and for how many; of routes without them nothing."""
    assert "  hedge " not in explained(capsys, file, "--endpoint", "lone")
    assert facts(capsys, file, "--endpoint", "lone")["hedge"] is None
    file.write_text(POLICY.replace("timeout: 1.5s", f"timeout: 1.5s, idempotent: true, hedge: {hedge}"))
    assert f"  hedge    a second place is asked {told}\n" in explained(capsys, file, "--endpoint", "lone")
    assert facts(capsys, file, "--endpoint", "lone")["hedge"]["budget"] in {0.02, 0.05}


def test_header_decides(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same header gives the same target, in any case of its name; another one may not."""
    first = [
        facts(capsys, file, "--endpoint", "sticky", "--header", f"x-USER={user}")["order"][0]["target"]
        for user in "aabcdefghijk"
    ]
    assert first[0] == first[1]
    assert set(first) == {"a", "small"}
    assert "by header x-user" in explained(capsys, file, "--endpoint", "sticky", "--header", "X-User=1")


def test_what_is_ruled_out_is_told_with_its_reason(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A body too large and a weight of 0 each have their words."""
    out = explained(capsys, file, "--endpoint", "sticky", "--header", "x-user=1", "--body-size", "1001")
    assert "    small: takes bodies of up to 1000 bytes, this one has 1001\n" in out
    assert "    engine: has weight 0\n" in out


def test_component_and_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A program reads the same facts."""
    told = facts(capsys, file, "--endpoint", "packed", "--component", "two", "--session", "s", "--inference-id", "i")
    assert told["ok"]
    assert (told["endpoint"], told["component"], told["line"]) == ("packed", "two", 15)
    assert told["rule"] == "endpoints.packed.components.two.serve_from"
    assert told["order"] == [{"target": "a", "replica": 0}] * 2
    assert (told["shares"], told["ruled_out"], told["drawn"], told["attempts"]) == ({"a": 1.0}, [], False, 2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--endpoint", "none"], "no endpoint none (case matters); it has: drawn, lone, packed, sticky"),
        (["--endpoint", "packed"], "needs --component; it has: one, two"),
        (["--endpoint", "packed", "--component", "three"], "no component three; it has: one, two"),
        (["--endpoint", "lone", "--component", "one"], "leave --component one out"),
    ],
)
def test_request_without_a_route(
    arguments: list[str], words: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 1, and what the policy has instead."""
    assert main(["explain", str(file), *arguments]) == 1
    assert words in capsys.readouterr().err
    assert main(["explain", str(file), "--json", *arguments]) == 1
    told = json.loads(capsys.readouterr().out)
    assert not told["ok"]
    assert words in told["message"]


def test_every_miss_has_words() -> None:
    """No way to miss ends in silence."""
    empty = RouteTable("123456789012", {}, {}, "")
    assert all(miss_message(miss, "e", "c", empty) for miss in Miss)


def test_bad_policy(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A policy that cannot be used explains nothing but itself."""
    file.write_text(POLICY.replace("drawn:", "drawn_:"))
    assert main(["explain", str(file), "--endpoint", "lone"]) == 1
    assert "endpoints.drawn_" in capsys.readouterr().err


@pytest.mark.parametrize("header", ["novalue", "=x", ""])
def test_header_is_name_and_value(header: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is no header is wrong usage."""
    assert main(["explain", str(file), "--endpoint", "lone", "--header", header]) == 2
    assert "NAME=VALUE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ("serve_from: cold, fallback: [a]", "while cold is cold, spill to a"),
        ("serve_from: cold, when_cold: hold", "while cold is cold, hold until it is back or the deadline is near"),
        ("serve_from: cold, cold_status: 503", "while cold is cold, fail at once, told 503"),
        ("serve_from: a, fallback: [cold]", None),
    ],
)
def test_what_becomes_of_a_request_that_meets_a_cold_target(
    block: str, told: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a sentence, where a first choice declares that it may be cold; and as facts."""
    cold = "  cold: {kind: vllm, model: m, url: 'http://127.0.0.1:8002', speaks: openai-chat, cold: {restore: 1s..9s}}"
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY.replace("endpoints:", f"{cold}\nendpoints:\n  x: {{{block}}}", 1))
    lines = explained(capsys, file, "--endpoint", "x").splitlines()
    assert [line.split(maxsplit=1)[1] for line in lines if line.startswith("  cold ")] == ([told] if told else [])
    assert facts(capsys, file, "--endpoint", "x")["when_cold"] in {"spill", "hold", "fail"}
