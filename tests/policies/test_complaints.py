"""What pydantic found wrong, in the words of someone who writes policies."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from policies.complaints import PLANNED, Refusal, refusals
from policies.document import read_document
from policies.interpolate import interpolate
from policies.schema import Policy

from .written import IMPORT, policy


def found(text: str, environment: dict[str, str] | None = None) -> list[Refusal]:
    """What the schema refuses of a text, without what comes before and after the schema."""
    document = interpolate(read_document(text), environment or {})
    with pytest.raises(ValidationError) as caught:
        Policy.model_validate(document.data)
    return list(refusals(caught.value, document))


def only(text: str, environment: dict[str, str] | None = None) -> tuple[str, str]:
    """Path and message of the one refusal."""
    (refusal,) = found(text, environment)
    return refusal.problem.path, refusal.problem.message


@pytest.mark.parametrize(
    ("line", "path", "message"),
    [
        ("tmeout: 60s", "tmeout", "unknown key; did you mean `timeout`?"),
        ("fall-back: [a]", "fall-back", "unknown key; did you mean `fallback`?"),
        ("release: {}", "release", "not offered in this version; delete the key"),
        ("release: {of: x}", "release", "not offered in this version; delete the key"),
        ("timeout: 60", "timeout", "must be a duration with its unit, such as 60s"),
        ("timeout: 60 s", "timeout", "is not a duration; write it like 60s, 8m, 1h30m or 500ms"),
        ("timeout: 0s", "timeout", "must be greater than 0"),
        ("idempotent: on", "idempotent", "`on` is text in YAML 1.2, not a truth value; write true"),
        ("idempotent: No", "idempotent", "`No` is text in YAML 1.2, not a truth value; write false"),
        ("idempotent: 1", "idempotent", "must be true or false, not `1`"),
        ("idempotent: [1]", "idempotent", "must be true or false"),
        ("owner: 12", "owner", 'must be text, and 12 is not in YAML; quote it: "12"'),
        ("owner: true", "owner", 'must be text, and true is not in YAML; quote it: "true"'),
        ("owner: {}", "owner", "must be text"),
        ("owner: ' x'", "owner", "must be printable ASCII text without spaces around it, not ` x`"),
        ("wave: 12:30", "wave", "must be a whole number; `12:30` is text in YAML 1.2"),
        ("wave: first", "wave", "must be a whole number, not `first`"),
        ("wave: 1.5", "wave", "must be a whole number, not `1.5`"),
        ("wave: -1", "wave", "must be greater than or equal to 0"),
        ("shed: never", "shed", "must be 'first', 'normal' or 'last', not `never`"),
        (
            "sticky_by: cookie",
            "sticky_by",
            "must be session, inference-id, none, header:<name> or prefix:<bytes>, not `cookie`",
        ),
        ("fallback: a", "fallback", "must be a list, not `a`"),
        ("retry: 3", "retry", "must be a block of keys, not `3`"),
        ("retry: {}", "retry.attempts", "is required"),
        ("retry: {attempts: 2, release: 10%}", "retry.release", "not offered in this version; delete the key"),
        ("split: {a: 90%}", "split.a", "must be a number, not `90%`"),
        ("split: {}", "split", None),
        ("split: {a b: 1}", "split.a b", "is not the name of a target"),
        ("expect: [{goes_to: a, header: {a b: c}}]", "expect[0].header.a b", "is not a possible header name"),
        ("expect: [{goes_to: a}, {session: s, gose_to: a}]", "expect[1].goes_to", "is required"),
        ("data: {regions: [us-east-1, 7]}", "data.regions[1]", 'must be text, and 7 is not in YAML; quote it: "7"'),
        ("cold_status: '503'", "cold_status", "must be 429 or 503, without quotes"),
        ("cold_status: '500'", "cold_status", "must be 429 or 503, not `500`"),
        ("timeout: 48h", "timeout", "must be less than or equal to 24h"),
        ("data: {regions: [US]}", "data.regions[0]", "must be a region such as us-east-1, not `US`"),
    ],
)
def test_message_of_an_endpoint(line: str, path: str, message: str | None) -> None:
    """Each mistake gets its reason and remedy, at its own path and line."""
    first = found(policy(f"x:\n  serve_from: a\n  {line}"))[0].problem
    assert first.path == f"endpoints.x.{path}"
    assert first.line == 9
    assert message is None or first.message == message


@pytest.mark.parametrize(
    ("written", "path", "message"),
    [
        ("steps: []", "steps", "must not be empty"),
        (f"steps: [{', '.join(['{share: 1%}'] * 51)}]", "steps", "must have at most 50 entries"),
        (
            "steps: [{approve: true}]",
            "steps[0].approve",
            "must be owner, or the name of whoever has to agree, not `true`",
        ),
        ("false_alarms: 50%", "false_alarms", "must be less than or equal to 20%"),
        ("false_alarms: 0.001%", "false_alarms", "must be greater than or equal to 0.01%"),
        ("keep: {a: {can_take: 0%}}", "keep.a.can_take", "must be greater than 0"),
        (
            "keep_differences: {folder: diffs, redact: nothing}",
            "keep_differences.folder",
            "must be an absolute path such as /var/lib/pointsman/diffs, not `diffs`",
        ),
        (
            "keep_differences: {folder: /d, redact: all}",
            "keep_differences.redact",
            "must be 'nothing' or a block of keys, not `all`",
        ),
        (
            "keep_differences: {folder: /d, redact: {patterns: ['(']}}",
            "keep_differences.redact.patterns[0]",
            "is no regular expression: missing ), unterminated subpattern at position 0",
        ),
        (
            "keep_differences: {folder: /d, redact: {kyes: [a]}}",
            "keep_differences.redact.kyes",
            "unknown key; did you mean `keys`?",
        ),
    ],
)
def test_message_of_a_migration(written: str, path: str, message: str) -> None:
    """One message a mistake, in the unit that it was written in, and never pydantic's names of forms."""
    steps = "" if written.startswith("steps") else ", steps: [{share: 100%}]"
    problem = only(policy(f"x: {{serve_from: a, migrate: {{to: b{steps}, {written}}}}}"))
    assert problem == (f"endpoints.x.migrate.{path}", message)


@pytest.mark.parametrize(
    ("target", "path", "word"),
    [
        ("{ }", "", "needs a kind: endpoint"),
        ("endpoint", "", "block of keys that begins with `kind: endpoint`"),
        ("{kind: vlm}", "", "unknown kind; did you mean `vllm`?"),
        ("{kind: 3}", "", "unknown kind; known here: bedrock, endpoint, vllm"),
        ("{kind: endpoint, endpoint: a, regoin: x}", ".regoin", "did you mean `region`?"),
        ("{kind: endpoint, endpoint: a_b}", ".endpoint", "EndpointName, not `a_b`"),
        ("{kind: endpoint, endpoint: a, component: a_b}", ".component", "InferenceComponentName, not `a_b`"),
        ("{kind: endpoint, endpoint: a, endpoints: b}", ".endpoints", "did you mean `endpoint`?"),
        ("{kind: vllm, url: 'http://h'}", ".model", "is required"),
        ("{kind: vllm, url: h, model: m}", ".url", "must begin with http://"),
        ("{kind: vllm, url: 'http://h', model: m, guardrail: {}}", ".guardrail", "unknown key"),
        (f"{{kind: bedrock, model: '{IMPORT}'}}", ".speaks", "is required"),
        (f"{{kind: bedrock, speaks: openai-chat, model: '{IMPORT}', release: x}}", ".release", "not offered"),
        (f"{{kind: bedrock, speaks: openai-chat, model: '{IMPORT}', guardrail: {{id: a, version: 1.0}}}}",
         ".guardrail.version", 'quote it: "1.0"'),
        (f"{{kind: bedrock, speaks: openai-chat, model: '{IMPORT}', guardrail: {{id: a, version: x}}}}",
         ".guardrail.version", "or DRAFT, not `x`"),
    ],
)  # fmt: skip
def test_message_of_a_target(target: str, path: str, word: str) -> None:
    """The kind that pydantic puts into its paths is not in ours, and a key may be called as the kind is."""
    at, message = only(policy("x: {serve_from: t}", f"t: {target}"))
    assert at == f"targets.t{path}"
    assert word in message


@pytest.mark.parametrize(
    ("text", "path", "word"),
    [
        (policy("a_b: {serve_from: a}"), "endpoints.a_b", "SageMaker's EndpointName"),
        (policy("a: {components: {a_b: {serve_from: a}}}"), "endpoints.a.components.a_b", "InferenceComponentName"),
        (policy("a: {serve_from: a}", "'-a': {kind: vllm, model: m}"), "targets.-a", "begin with a letter or digit"),
        (policy("a: {serve_from: a b}"), "endpoints.a.serve_from", "must be the name of a target, not `a b`"),
        (policy("a: {serve_from: a\u200b}"), "endpoints.a.serve_from", "it has a U+200B, which no one sees"),
        (policy("a: serve_from:\u00a0a"), "endpoints.a", "it has a U+00A0, which no one sees: write a usual space"),
        (policy("a: {serve_from: a}").replace('"123456789012"', "012345678901"), "account", 'quote it: "012345678901"'),
        (policy("a: {serve_from: a}").replace('"123456789012"', "'1'"), "account", "twelve digits in quotes, not `1`"),
        (
            policy("a: {serve_from: a}").replace("/v1", "/v2"),
            "apiVersion",
            "must be 'pointsman/v1', not `pointsman/v2`",
        ),
    ],
)
def test_message_at_other_places(text: str, path: str, word: str) -> None:
    """Names, the account and the version have words of their own; the account keeps its leading zero."""
    at, message = only(text)
    assert at == path
    assert word in message


def test_name_that_is_too_long_says_so() -> None:
    """SageMaker's limit of 63 characters is in the message."""
    assert "at most 63" in only(policy(f"{'a' * 64}: {{serve_from: a}}"))[1]


def test_policy_that_is_no_mapping() -> None:
    """A list, or a word, is told what a policy is."""
    assert only("- a") == ("", "must be a block of keys")


def test_value_from_the_environment_is_not_repeated() -> None:
    """The report quotes the file, never what a variable holds."""
    text = policy("x: {serve_from: a, owner: '${OWNER}', shed: '${OWNER}'}")
    assert [one.problem.message.rpartition(", not ")[2] for one in found(text, {"OWNER": " secret"})] == [
        "`${OWNER}`"
    ] * 2


@pytest.mark.parametrize(
    ("line", "taken"),
    [
        ("owner: 3", ("endpoints", "x", "owner")),
        ("retry: {}", ("endpoints", "x", "retry")),
        ("expect: [{session: s}]", ("endpoints", "x", "expect", 0)),
        ("split: {a b: 1}", ("endpoints", "x", "split", "a b")),
    ],
)
def test_what_is_taken_out(line: str, taken: tuple[Any, ...]) -> None:
    """A wrong value goes alone; a block that lacks something goes whole."""
    (refusal,) = found(policy(f"x: {{serve_from: a, {line}}}"))
    assert refusal.take_out == taken


def test_missing_key_of_the_policy_is_itself_what_is_taken_out() -> None:
    """At the top nothing is around the key, so that the rest can still be read."""
    (refusal,) = found("apiVersion: pointsman/v1\ntargets: {}\nendpoints: {}\n")
    assert (refusal.take_out, refusal.problem.message) == (("account",), "is required")


@pytest.mark.parametrize("key", sorted(PLANNED))
def test_planned_key_is_not_called_a_mistake(key: str) -> None:
    """Someone who wrote a key of a later version is told so, not offered another word."""
    assert "not offered in this version" in only(policy(f"x: {{serve_from: a, {key}: 1}}"))[1]
